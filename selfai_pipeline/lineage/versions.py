"""Every version that the records of a store name, and what each was made from.

Records are read one by one, so that a damaged one is named and hides nothing else.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import PurePosixPath
from typing import Any

from selfai_pipeline.errors import AlteredVersion, InputError, MissingVersion
from selfai_pipeline.picture_store import SHA256_HEX
from selfai_pipeline.store import Store
from selfai_pipeline.tables import PARTITION_NAME, WHOLE, CheckpointRef, Record, Ref, TableRef
from selfai_pipeline.training.checkpoint_records import RECORD, WEIGHTS, folder_of, load_record

ASSETS = (
    *("ablation_report", "ablation_run", "release_bundle", "champion", "champion_comparison"),
    "evaluation_report",
    *("finetuned_scorer", "widened_checkpoint", "siamese_checkpoint"),
    *("balanced_label_table", "annotations", "aligned_faces", "pruned_set", "raw_crawl"),
)
"""From the last to the first: no asset is made from one that stands before it."""

CHECKPOINTS = ("finetuned_scorer", "widened_checkpoint", "siamese_checkpoint")

SHORTEST_PREFIX = 6


@dataclass(frozen=True, order=True)
class VersionKey:
    """The name of a version: an asset, a partition (`WHOLE` where there are none) and a hash."""

    asset: str
    partition: str
    sha256: str

    def __str__(self) -> str:
        where = self.asset if self.partition == WHOLE else f"{self.asset}, {self.partition}"
        return f"{where}, {self.sha256[:12]}"


@dataclass(frozen=True)
class Making:
    """One time that a version was made. The same bytes can be made twice, from other inputs or by other code.

    `settings`, `inputs` and `external` are those of `tables.Record`; `run_id` is Dagster's, and empty where a
    checkpoint's own record is all that is known of it.
    """

    code_version: str
    settings: Mapping[str, Any]
    inputs: tuple[VersionKey, ...]
    external: Mapping[str, str]
    run_id: str


@dataclass(frozen=True)
class Version:
    """A version, each way in which it was made, and what is amiss with its files as far as reading told.

    `rows` is None where no record says it; `files` are relative paths of what the version consists of.
    `left_as` is the hash of what is left of it, where a removal took rows out; else it is empty.
    """

    key: VersionKey
    rows: int | None
    makings: tuple[Making, ...]
    files: tuple[str, ...]
    is_checkpoint: bool
    is_current: bool
    problems: tuple[str, ...] = ()
    left_as: str = ""

    @property
    def inputs(self) -> frozenset[VersionKey]:
        """What it was made from: of a version that was made more than once, all that it was made from."""
        return frozenset(key for making in self.makings for key in making.inputs)


@dataclass(frozen=True)
class _Folder:
    """The records of a partition by the hash of the version, and what could not be read."""

    records: Mapping[str, list[Record]]
    current: str | None
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Archive:
    """The versions of a store, read when they are asked for and kept then: one audit sees one state."""

    store: Store
    _folders: dict[tuple[str, str], _Folder] = field(default_factory=dict, repr=False)
    _versions: dict[VersionKey, Version] = field(default_factory=dict, repr=False)

    def version(self, key: VersionKey) -> Version:
        """What is known of a version; where that is little, its problems say why."""
        if key not in self._versions:
            # Ablations have tables and, of arms that begin at random, checkpoints under one name.
            is_checkpoint = key.asset in CHECKPOINTS or (
                key.asset in self._checkpoint_assets
                and self.store.files.exists(f"checkpoints/{key.asset}/{key.sha256}")
            )
            found = self._checkpoint(key) if is_checkpoint else self._table(key)
            lost = [path for path in found.files if not self.store.files.size(path)]
            problems = [*found.problems, *(f"{self.store.files.path(path)} is missing" for path in lost)]
            if not found.makings:
                problems.append("no record says what it was made from")
            self._versions[key] = replace(found, problems=tuple(problems))
        return self._versions[key]

    def upstream(self, key: VersionKey) -> list[Version]:
        """The version and everything it was made from, over all steps; in the order of `ASSETS`."""
        found: dict[VersionKey, Version] = {}
        waiting = [key]
        while waiting:
            one = waiting.pop()
            if one not in found:
                found[one] = self.version(one)
                waiting += found[one].inputs
        return sorted(found.values(), key=lambda version: (place_in_graph(version.key.asset), version.key))

    @cached_property
    def keys(self) -> frozenset[VersionKey]:
        """Every version that any record names, and every table and checkpoint that lies in the store."""
        named: set[VersionKey] = set()
        for asset in self._names("tables"):
            for partition in self._names(f"tables/{asset}"):
                # Ablations, and runs that were killed, leave tables that no record names.
                for name in self.store.files.list(f"tables/{asset}/{partition}"):
                    sha256, dot, ending = name.partition(".")
                    if dot + ending == ".parquet" and SHA256_HEX.fullmatch(sha256):
                        named.add(VersionKey(asset, partition, sha256))
                for sha256, records in self._folder(asset, partition).records.items():
                    named.add(VersionKey(asset, partition, sha256))
                    named.update(key for record in records for key in _inputs_of(record))
        for asset in self._checkpoint_assets:
            names = self.store.files.list(f"checkpoints/{asset}")
            named.update(VersionKey(asset, WHOLE, name) for name in names if SHA256_HEX.fullmatch(name))
        return frozenset(named)

    @property
    def problems(self) -> list[str]:
        """What could not be read of the records that were looked at."""
        return sorted({problem for folder in self._folders.values() for problem in folder.problems})

    def find(self, prefix: str, partition: str = "") -> VersionKey:
        """The version whose hash begins with `prefix`.

        Args:
            partition: tells apart equal tables of several partitions (empty ones, say).

        Raises:
            InputError: there is none, or more than one.
        """
        matching = sorted(
            key
            for key in self.keys
            if key.sha256.startswith(prefix) and (not partition or key.partition == partition)
        )
        if len(matching) == 1:
            return matching[0]
        where = f"{prefix}@{partition}" if partition else prefix
        if not matching:
            raise InputError(
                "no version of a table or a checkpoint has such a hash",
                where=where,
                mend="`selfai audit` without a name shows the chain of the newest model, with every hash.",
            )
        several = "; ".join(map(str, matching[:5]))
        raise InputError(
            f"{len(matching)} versions begin so: {several}{' ...' if len(matching) > 5 else ''}",
            where=where,
            mend="Name more characters of the hash, or the partition too: HASH@PARTITION.",
        )

    def checkpoint_key(self, sha256: str, *, otherwise: str) -> VersionKey:
        """The checkpoint of this hash; of the asset `otherwise` where it is not in the store."""
        for asset in self._checkpoint_assets:
            if self.store.files.exists(f"checkpoints/{asset}/{sha256}"):
                return VersionKey(asset, WHOLE, sha256)
        return VersionKey(otherwise, WHOLE, sha256)

    def table_ref(self, key: VersionKey) -> TableRef:
        return TableRef(key.asset, key.partition, key.sha256, rows=self.version(key).rows or 0)

    @cached_property
    def _checkpoint_assets(self) -> tuple[str, ...]:
        return tuple(self._names("checkpoints"))

    def _names(self, folder: str) -> Iterator[str]:
        return (name for name in self.store.files.list(folder) if PARTITION_NAME.fullmatch(name))

    def _folder(self, asset: str, partition: str) -> _Folder:
        if (asset, partition) not in self._folders:
            self._folders[asset, partition] = self._read_folder(asset, partition)
        return self._folders[asset, partition]

    def _read_folder(self, asset: str, partition: str) -> _Folder:
        files = self.store.files
        try:
            folder = self.store.tables.folder(asset, partition)
        except ValueError as error:
            return _Folder({}, None, (str(error),))
        records: dict[str, list[Record]] = {}
        problems = []
        for name in files.list(f"{folder}/records"):
            path = f"{folder}/records/{name}"
            content = files.read(path)
            if hashlib.sha256(content).hexdigest() != PurePosixPath(name).stem:
                problems.append(f"{files.path(path)}: the record was altered")
            try:
                record = Record.from_json(content)
                keys = _inputs_of(record)
            except (ValueError, KeyError, TypeError, AttributeError):
                problems.append(f"{files.path(path)}: this is no record of a version")
                continue
            if all(_is_name_of_version(key) for key in (record.ref, *keys)):
                records.setdefault(record.ref.sha256, []).append(record)
            else:
                problems.append(f"{files.path(path)}: it names what can be no version")
        current = None
        try:
            if files.exists(f"{folder}/current.json"):
                current = Record.from_json(files.read(f"{folder}/current.json")).ref.sha256
        except (ValueError, KeyError, TypeError, AttributeError):
            problems.append(f"{files.path(folder)}/current.json: the pointer is damaged")
        return _Folder(self._with_redacted(records, asset, partition), current, tuple(problems))

    def _with_redacted(
        self, records: dict[str, list[Record]], asset: str, partition: str
    ) -> dict[str, list[Record]]:
        """With what removals have left of a version made as the version was."""
        try:
            redactions = self.store.tables.redactions(asset, partition)
        except AlteredVersion:
            # Each of the versions tells of it.
            return records
        known = {sha256: list(some) for sha256, some in records.items()}
        for before, some in records.items():
            left = redactions.get(before)
            while left is not None:
                known.setdefault(left, []).extend(some)
                left = redactions.get(left)
        return known

    def _table(self, key: VersionKey) -> Version:
        folder = self._folder(key.asset, key.partition)
        records = folder.records.get(key.sha256, [])
        rows = [one.ref.rows for one in records if one.ref.sha256 == key.sha256]
        left, problems = key.sha256, []
        try:
            left = self.store.tables.present(TableRef(key.asset, key.partition, key.sha256, 0)).sha256
        except AlteredVersion as error:
            problems.append(str(error))
        except ValueError:
            # The name of a folder that is no partition, which the records' reader has told of.
            pass
        return Version(
            key,
            rows=rows[0] if rows else None,
            makings=_makings(records),
            files=(f"tables/{key.asset}/{key.partition}/{left}.parquet",),
            is_checkpoint=False,
            is_current=folder.current == key.sha256,
            problems=tuple(problems),
            left_as="" if left == key.sha256 else left,
        )

    def _checkpoint(self, key: VersionKey) -> Version:
        """A checkpoint says itself what it was made from; a record of the run adds settings and the run."""
        folder = self._folder(key.asset, key.partition)
        records = folder.records.get(key.sha256, [])
        ref = CheckpointRef(key.asset, key.partition, key.sha256, 0)
        problems: list[str] = []
        own: dict[str, Any] = {}
        try:
            own = load_record(ref, store=self.store)
        except (AlteredVersion, InputError) as error:
            problems.append(str(error))
        except MissingVersion:
            problems += [] if records else ["the store has no such checkpoint"]
        makings = _makings(records)
        if own:
            named = self._own_inputs(own)
            if not {one for making in makings for one in making.inputs} <= set(named):
                problems.append("the record of its run names inputs that its own record does not")
            makings = makings or (Making("", own.get("settings") or {}, named, {}, ""),)
        rows = records[0].ref.rows if records else own.get("rows")
        files = tuple(f"{folder_of(ref)}/{name}" for name in (RECORD, WEIGHTS))
        is_current = folder.current == key.sha256
        return Version(key, rows, makings, files, True, is_current, tuple(problems))

    def _own_inputs(self, record: Mapping[str, Any]) -> tuple[VersionKey, ...]:
        inputs = record.get("inputs") or {}
        keys = []
        if labels := inputs.get("labels"):
            keys.append(VersionKey("balanced_label_table", WHOLE, labels))
        if parent := inputs.get("parent"):
            keys.append(self.checkpoint_key(parent, otherwise="widened_checkpoint"))
        return tuple(keys)


def _is_name_of_version(key: Ref | VersionKey) -> bool:
    named = PARTITION_NAME.fullmatch(key.asset) and PARTITION_NAME.fullmatch(key.partition)
    return bool(named and SHA256_HEX.fullmatch(key.sha256))


def _inputs_of(record: Record) -> list[VersionKey]:
    return [
        VersionKey(asset, partition, sha256)
        for asset, partitions in record.inputs.items()
        for partition, sha256 in partitions.items()
    ]


def _makings(records: list[Record]) -> tuple[Making, ...]:
    """Each making once, in an order that does not depend on the names of files."""
    makings: dict[str, Making] = {}
    for one in records:
        inputs = tuple(sorted(_inputs_of(one)))
        told = [one.run_id, one.code_version, one.settings, one.external, list(map(str, inputs))]
        making = Making(one.code_version, one.settings, inputs, one.external, one.run_id)
        makings[json.dumps(told, sort_keys=True)] = making
    return tuple(makings[told] for told in sorted(makings))


@lru_cache
def place_in_graph(asset: str) -> int:
    """Number of the asset in `ASSETS`; one that it does not name stands before them."""
    return ASSETS.index(asset) if asset in ASSETS else -1


def is_hash_prefix(text: str) -> bool:
    return re.fullmatch(rf"[0-9a-f]{{{SHORTEST_PREFIX},64}}", text) is not None
