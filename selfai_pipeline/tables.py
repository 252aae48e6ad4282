"""Immutable tables and the references that flow between assets.

A table version is a Parquet file named by the SHA-256 of its bytes, so that `sha256sum` proves it. A small
pointer a partition names the current version; it is replaced in one move, and all pointers ever written stay
beside it as a record of what the version was made from. Layout, under the storage's root:

    tables/<asset>/<partition>/<sha256>.parquet
    tables/<asset>/<partition>/current.json
    tables/<asset>/<partition>/records/<sha256 of the record>.json
    tables/<asset>/<partition>/verdicts/<sha256 of the version>.json
    tables/<asset>/<partition>/redacted.json

The last one is there where a removal took rows out of versions: it leads from the hash of each such version
to that of what is left of it, and whoever reads the old version gets what is left.

No run time, run id or random name enters a table: the same input gives the same bytes and so the same hash.
"""

import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from selfai_pipeline.errors import AlteredVersion, MissingVersion
from selfai_pipeline.storage import Storage

if TYPE_CHECKING:
    import pyarrow as pa

WHOLE = "all"
"""The partition name of an asset that has no partitions."""

CHECKS = ("completeness", "sanity", "quality_floor")
"""The names of the checks that judge every version."""

PROMOTION_CHECK = "promotion"
"""The check of a comparison with the champion that the champion moves by; a failure is no defect of it."""

PARTITION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
FACTS_KEY = b"selfai.facts"
ROWS_AT_ONCE = 2000


@dataclass(frozen=True)
class TableRef:
    """A version of a table: light enough to travel between assets.

    `rows` counts rows; `partition` is `WHOLE` for an asset without partitions.
    """

    asset: str
    partition: str
    sha256: str
    rows: int


@dataclass(frozen=True)
class CheckpointRef:
    """A version of a checkpoint; `sha256` is that of its record, which names the hash of the weights.

    `rows` counts the pictures it was trained on.
    """

    asset: str
    partition: str
    sha256: str
    rows: int


Ref = TableRef | CheckpointRef


@dataclass(frozen=True)
class Record:
    """What a version was made from: enough to make it again, or to see that it is out of date.

    `inputs` maps upstream asset -> partition -> hash; `external` maps the name of something outside the graph
    (the declaration of the sources, a file of ratings) -> hash; `settings` are the values the run used.
    `previous` is the hash of the version that was current before, and empty for the first.
    """

    ref: Ref
    code_version: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, Mapping[str, str]]
    external: Mapping[str, str] = field(default_factory=dict)
    run_id: str = ""
    previous: str = ""

    def to_json(self) -> bytes:
        content = {"kind": type(self.ref).__name__, **asdict(self)}
        return json.dumps(content, sort_keys=True, indent=1).encode()

    @classmethod
    def from_json(cls, content: bytes) -> "Record":
        values = json.loads(content)
        kinds: dict[str, type[Ref]] = {"TableRef": TableRef, "CheckpointRef": CheckpointRef}
        ref = kinds[values.pop("kind")](**values.pop("ref"))
        return cls(ref=ref, **values)


@dataclass(frozen=True)
class Snapshot:
    """The versions of one asset, a partition each, pinned at one moment.

    `records` says what they were made from, where they have just been made: what the pointers will hold.
    """

    refs: Mapping[str, Ref]
    records: Mapping[str, Record] = field(default_factory=dict)

    @property
    def asset(self) -> str:
        """The asset whose versions these are."""
        return next(iter(self.refs.values())).asset

    @property
    def hashes(self) -> dict[str, str]:
        """The hash of each partition's version."""
        return {partition: ref.sha256 for partition, ref in sorted(self.refs.items())}

    @property
    def tables(self) -> dict[str, TableRef]:
        """The table versions by partition, in the order of the partitions."""
        return {name: ref for name, ref in sorted(self.refs.items()) if isinstance(ref, TableRef)}

    @property
    def table(self) -> TableRef:
        """The one table of an asset without partitions."""
        (ref,) = self.tables.values()
        return ref

    @property
    def checkpoint(self) -> CheckpointRef:
        """The one checkpoint of an asset without partitions."""
        (ref,) = [ref for ref in self.refs.values() if isinstance(ref, CheckpointRef)]
        return ref

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the sorted (partition, hash) pairs: equal exactly when every version is."""
        pairs = sorted((partition, ref.sha256) for partition, ref in self.refs.items())
        return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()


@dataclass(frozen=True)
class TableStore:
    """Reads and writes table versions and pointers; see the module's text for the layout."""

    storage: Storage

    def folder(self, asset: str, partition: str) -> str:
        for name in (asset, partition):
            if not PARTITION_NAME.fullmatch(name):
                raise ValueError(f"not a name of an asset or a partition: {name!r}")
        return f"tables/{asset}/{partition}"

    def path(self, ref: TableRef) -> str:
        """The relative path of a version's Parquet file."""
        return f"{self.folder(ref.asset, ref.partition)}/{ref.sha256}.parquet"

    def write(
        self,
        rows: "Iterable[Mapping[str, Any]] | pa.Table",
        *,
        asset: str,
        partition: str = WHOLE,
        facts: Mapping[str, Any] | None = None,
    ) -> TableRef:
        """Store a version of `asset` with the schema of `schemas.TABLES`; the pointer does not move.

        A file of this version that was damaged is replaced.

        Args:
            rows: mappings of column -> value, or an Arrow table; in the order in which they shall be read.
            facts: figures about the whole table, kept in the file beside the schema (a noise ceiling, say).

        Raises:
            pyarrow.ArrowInvalid: a value does not fit its column.
        """
        import pyarrow as pa

        from selfai_pipeline.schemas import TABLES

        schema = TABLES[asset]
        table = rows.select(schema.names) if isinstance(rows, pa.Table) else table_of(rows, asset=asset)
        return self._put(table.cast(schema), facts or {}, asset=asset, partition=partition)

    def _put(self, table: "pa.Table", facts: Mapping[str, Any], *, asset: str, partition: str) -> TableRef:
        import pyarrow.parquet as pq

        table = table.combine_chunks()
        table = table.replace_schema_metadata({FACTS_KEY: json.dumps(facts, sort_keys=True).encode()})
        sink = io.BytesIO()
        pq.write_table(table, sink, compression="zstd", version="2.6", store_schema=True)
        content = sink.getvalue()
        ref = TableRef(asset, partition, hashlib.sha256(content).hexdigest(), table.num_rows)
        if not self.storage.holds(self.path(ref), content):
            self.storage.write(self.path(ref), content)
        return ref

    def read(self, ref: TableRef, columns: list[str] | None = None) -> "pa.Table":
        """The rows of a version, its bytes checked against the reference; `columns` where not all are wanted.

        A version from before one of `columns` came into the schema has nulls there, where it may.

        Raises:
            MissingVersion: the file is not in the store.
            AlteredVersion: the file was altered or truncated.
            KeyError: the table has no such column.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        from selfai_pipeline.schemas import TABLES

        # A thread of Arrow that still holds Python's bytes when the interpreter ends aborts the process.
        file = pq.ParquetFile(self._verified(ref), pre_buffer=False)
        table = file.read(columns=columns, use_threads=False)
        if columns is None:
            return table
        for name in set(columns) - set(table.column_names):
            field = TABLES[ref.asset].field(name)
            if field.nullable:
                table = table.append_column(field, pa.nulls(table.num_rows, field.type))
        return table.select(columns)

    def facts(self, ref: TableRef) -> dict[str, Any]:
        """The figures about the whole table that were stored with it, its bytes checked as in `read`."""
        import pyarrow.parquet as pq

        metadata = pq.read_schema(self._verified(ref)).metadata or {}
        facts: dict[str, Any] = json.loads(metadata.get(FACTS_KEY, b"{}"))
        return facts

    def find(self, asset: str, partition: str, sha256: str) -> TableRef:
        """The reference to a stored version of which the hash alone is known, with its number of rows.

        Raises:
            MissingVersion: the file is not in the store.
            AlteredVersion: the file was altered or truncated.
        """
        import pyarrow.parquet as pq

        ref = TableRef(asset, partition, sha256, rows=0)
        return replace(ref, rows=pq.read_metadata(self._verified(ref)).num_rows)

    def _verified(self, ref: TableRef) -> "pa.BufferReader":
        """The bytes of a version's file, after they were found to hash to its name."""
        import pyarrow as pa

        # First of all: a file that came back from a backup must not bring back what was removed.
        left = self.present(ref)
        mend = _again(ref.asset, ref.partition)
        return pa.BufferReader(self.storage.read_verified(self.path(left), left.sha256, mend=mend))

    def redactions(self, asset: str, partition: str) -> dict[str, str]:
        """The hash of each version that a removal took rows out of -> that of what is left of it.

        Raises:
            AlteredVersion: the file that says so is damaged.
        """
        path = f"{self.folder(asset, partition)}/redacted.json"
        found = self._mapping(path)
        if (
            found is None
            or not all(isinstance(after, str) for after in found.values())
            or any(map(partial(_leads_nowhere, found), found))
        ):
            raise AlteredVersion(
                f"{self.storage.path(path)}: this does not say what removals have rewritten. Put it back "
                "from a copy: past versions cannot be read without it."
            )
        return found

    def _mapping(self, path: str) -> dict[str, Any] | None:
        """The JSON object in a file; empty where there is no file, None where it holds something else."""
        try:
            found = json.loads(self.storage.read(path))
        except MissingVersion:
            return {}
        except ValueError:
            return None
        return found if isinstance(found, dict) else None

    def present(self, ref: TableRef) -> TableRef:
        """The version that holds what is left of `ref`: itself, where nothing was taken out of it."""
        redactions = self.redactions(ref.asset, ref.partition)
        sha256 = ref.sha256
        while sha256 in redactions:
            sha256 = redactions[sha256]
        return ref if sha256 == ref.sha256 else replace(ref, sha256=sha256)

    def redact(self, ref: TableRef, table: "pa.Table", facts: Mapping[str, Any]) -> TableRef:
        """Put `table` in the place of a version, for good; the file of the version itself is deleted.

        The pointer moves along where it named the version, with the record of the version and its verdicts.
        Called again after it was interrupted, it goes on.

        Args:
            table: what is left of it, of its own (maybe an earlier) schema.
        """
        left = self._put(table, facts, asset=ref.asset, partition=ref.partition)
        if left.sha256 == ref.sha256:
            return ref
        redactions = self.redactions(ref.asset, ref.partition)
        if redactions.get(ref.sha256) != left.sha256:
            content = json.dumps({**redactions, ref.sha256: left.sha256}, sort_keys=True, indent=1).encode()
            self.storage.write(f"{self.folder(ref.asset, ref.partition)}/redacted.json", content)
        self.judge(left, self.verdicts(ref))
        self.follow(ref.asset, ref.partition)
        self.storage.delete(self.path(ref))
        return left

    def follow(self, asset: str, partition: str) -> None:
        """Let the pointer of a partition name what is left of its current version."""
        import pyarrow.parquet as pq

        record = self.current(asset, partition)
        if record is None or not isinstance(record.ref, TableRef):
            return
        left = self.present(record.ref)
        if left != record.ref:
            rows = pq.read_metadata(self._verified(left)).num_rows
            self.point(replace(record, ref=replace(left, rows=rows)))

    def read_all(self, snapshot: Snapshot, columns: list[str] | None = None) -> "pa.Table":
        """The rows of every partition of a snapshot, by partition; at least one is needed."""
        import pyarrow as pa

        return pa.concat_tables([self.read(ref, columns) for ref in snapshot.tables.values()])

    def point(self, record: Record) -> None:
        """Make the version of `record` the current one of its partition, and keep the record for ever.

        It is kept with the version that was current before, however often the same is made again.
        """
        folder = self.folder(record.ref.asset, record.ref.partition)
        before = self._current_or_none(record.ref)
        if before is not None:
            same = before.ref.sha256 == record.ref.sha256
            record = replace(record, previous=before.previous if same else before.ref.sha256)
        content = record.to_json()
        self.storage.write(f"{folder}/records/{hashlib.sha256(content).hexdigest()}.json", content)
        self.storage.write(f"{folder}/current.json", content)

    def current(self, asset: str, partition: str = WHOLE) -> Record | None:
        """The record that the partition's pointer names; None where nothing was materialized.

        Raises:
            AlteredVersion: the pointer is damaged.
        """
        try:
            return self._record(asset, partition, "current.json")
        except MissingVersion:
            return None

    def records(self, asset: str, partition: str = WHOLE) -> list[Record]:
        """Every record ever written for the partition, in no particular order.

        Raises:
            AlteredVersion: one of them is damaged.
        """
        names = self.storage.list(f"{self.folder(asset, partition)}/records")
        return [self._record(asset, partition, f"records/{name}") for name in names]

    def _current_or_none(self, ref: Ref) -> Record | None:
        """The current record of a partition; None where there is none that can be read."""
        try:
            return self.current(ref.asset, ref.partition)
        except AlteredVersion:
            return None

    def passed_before(self, ref: Ref) -> Ref | None:
        """The latest version before `ref` that passed its checks; None where there is none.

        Raises:
            AlteredVersion: a record of the partition or a file of verdicts is damaged.
        """
        records = {record.ref.sha256: record for record in self.records(ref.asset, ref.partition)}
        current = self.current(ref.asset, ref.partition)
        if current is not None:
            # One version can have been made twice: the pointer says after which it came the last time.
            records[current.ref.sha256] = current
        seen = {ref.sha256}
        found = records.get(ref.sha256)
        while found is not None and found.previous not in seen:
            seen.add(found.previous)
            found = records.get(found.previous)
            if found is not None and self.has_passed(found.ref):
                return found.ref
        return None

    def _record(self, asset: str, partition: str, name: str) -> Record:
        path = f"{self.folder(asset, partition)}/{name}"
        try:
            return Record.from_json(self.storage.read(path))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise AlteredVersion(
                f"{self.storage.path(path)}: this is no record of a version. "
                f"Delete it. {_again(asset, partition)}"
            ) from error

    def judge(self, ref: Ref, verdicts: Mapping[str, bool]) -> None:
        """Keep which checks a version passed, beside what is known of it already; a later verdict counts."""
        known = self.verdicts(ref)
        together = {**known, **verdicts}
        if together != known:
            content = json.dumps(together, sort_keys=True, indent=1).encode()
            self.storage.write(self._verdicts_path(ref), content)

    def verdicts(self, ref: Ref) -> dict[str, bool]:
        """Name of each check that judged a version -> whether it passed; empty where none did.

        Raises:
            AlteredVersion: the file of the verdicts is damaged.
        """
        path = self._verdicts_path(ref)
        found = self._mapping(path)
        if found is None or not all(isinstance(passed, bool) for passed in found.values()):
            raise AlteredVersion(
                f"{self.storage.path(path)}: these are no verdicts of checks. Delete it. "
                f"{_again(ref.asset, ref.partition)}"
            )
        return found

    def has_passed(self, ref: Ref) -> bool:
        """Whether the version `ref` was judged by every one of `CHECKS` and passed each."""
        verdicts = self.verdicts(ref)
        return all(verdicts.get(check, False) for check in CHECKS)

    def only_passed(self, snapshot: Snapshot) -> Snapshot:
        """The partitions whose version passed its checks: one that cannot be used holds up no other."""
        return Snapshot({name: ref for name, ref in snapshot.refs.items() if self.has_passed(ref)})

    def _verdicts_path(self, ref: Ref) -> str:
        return f"{self.folder(ref.asset, ref.partition)}/verdicts/{ref.sha256}.json"

    def partitions(self, asset: str) -> list[str]:
        """Partitions of `asset` that have a current version, sorted."""
        names = self.storage.list(f"tables/{asset}")
        return [name for name in names if self.storage.exists(f"tables/{asset}/{name}/current.json")]

    def snapshot(self, asset: str, partitions: Iterable[str] | None = None) -> Snapshot:
        """The current versions of `partitions` (default: all); a partition without one is left out."""
        names = self.partitions(asset) if partitions is None else list(partitions)
        records = {name: self.current(asset, name) for name in names}
        return Snapshot({name: record.ref for name, record in records.items() if record is not None})


def differing(wanted: Iterable[Hashable], found: Iterable[Hashable]) -> int:
    """How many entries are in one of two lists only, each counted as often as it stands there."""
    ours, theirs = Counter(wanted), Counter(found)
    return ((ours - theirs) + (theirs - ours)).total()


def _leads_nowhere(redactions: Mapping[str, str], sha256: str) -> bool:
    """Whether whoever follows the redactions of a version goes round in a circle."""
    seen = set()
    while sha256 in redactions and sha256 not in seen:
        seen.add(sha256)
        sha256 = redactions[sha256]
    return sha256 in seen


def _again(asset: str, partition: str) -> str:
    """How to mend a damaged file of a partition, in a sentence."""
    what = asset if partition == WHOLE else f"{asset} for {partition}"
    return f"Materialize {what} again, or put the file back from a copy."


def table_of(
    rows: "Iterable[Mapping[str, Any]]", *, asset: str, columns: Sequence[str] | None = None
) -> "pa.Table":
    """Rows as an Arrow table of the asset's schema, which takes a part of the memory that the rows take.

    Args:
        columns: those that the rows have, where the others come from elsewhere; None: all of the schema.

    Raises:
        ValueError: a row has other columns; none is silently dropped.
        pyarrow.ArrowInvalid: a value does not fit its column.
    """
    import pyarrow as pa

    from selfai_pipeline.schemas import TABLES

    schema = TABLES[asset]
    if columns is not None:
        schema = pa.schema([schema.field(name) for name in columns])
    known = set(schema.names)
    tables = [schema.empty_table()]
    remaining = iter(rows)
    while some := list(islice(remaining, ROWS_AT_ONCE)):
        for row in some:
            if set(row) != known:
                raise ValueError(f"columns differ from the schema: {sorted(set(row) ^ known)}")
        tables.append(pa.Table.from_pylist(some, schema=schema))
    return pa.concat_tables(tables)
