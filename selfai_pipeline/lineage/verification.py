"""Every hash of a chain computed again from the bytes, and each file named that does not match."""

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from selfai_pipeline.errors import AlteredVersion, MissingVersion
from selfai_pipeline.lineage import promotions
from selfai_pipeline.lineage.audit import Audit
from selfai_pipeline.lineage.columns import read_columns
from selfai_pipeline.lineage.findings import Finding, State
from selfai_pipeline.lineage.outside import outside_of
from selfai_pipeline.lineage.registry import RegisteredVersion
from selfai_pipeline.lineage.versions import Archive, Version
from selfai_pipeline.picture_store import PictureStore
from selfai_pipeline.sources.tombstones import RECORDS, read_tombstones
from selfai_pipeline.store import Store
from selfai_pipeline.tables import CheckpointRef
from selfai_pipeline.training.checkpoint_records import RECORD, WEIGHTS, folder_of
from selfai_pipeline.turns import unfinished_plans

COPIED_RATINGS = re.compile(r"[a-z]+-([0-9a-f]{12})\.[a-z.]+")
"""Name of a file under `imports/<source>/` that `selfai import` made: it holds the beginning of its hash."""

Step = tuple[str, str, str, str]
"""A rewriting of a version: asset, partition, and the hashes before and after."""


def verify(audited: Audit, *, archive: Archive) -> Iterator[Finding]:
    """Look at every file that a chain stands on: tables, records, pointers, checkpoints and their weights,
    stored pictures, crops, files of ratings, the log of promotions, and the copies that registered models
    hold; and at what the current versions were made from outside of the graph.

    Each file is read once, whole; pictures and crops are those of the chain's rows. A version without a
    record is named too: what it was made from is not in the chain, and so nobody has looked at it.
    """
    store = archive.store
    steps: set[Step] = set()
    try:
        steps = _recorded_steps(store)
    except AlteredVersion as error:
        yield Finding(State.ALTERED, "records of removals", store.files.path(RECORDS), str(error))
    for version in audited.versions:
        yield from _files_of(version, store, steps)
        if not version.makings:
            yield _without_record(version, store)
    for asset, partition in sorted({(one.key.asset, one.key.partition) for one in audited.versions}):
        yield from _records_of(asset, partition, store)
    crawled = _named_in(audited, "raw_crawl", "image_id", archive)
    yield from _contents(crawled, "picture", store.pictures)
    crops = _named_in(audited, "aligned_faces", "crop_sha256", archive)
    crops |= _named_in(audited, "balanced_label_table", "crop_sha256", archive)
    yield from _contents(crops, "crop", store.crops)
    yield from _copied_ratings(audited, store)
    yield from outside_of(audited.versions, archive=archive)
    if audited.registered:
        yield from _promotions(store)
    for one in audited.registered:
        yield from registered_copy(one)


def _recorded_steps(store: Store) -> set[Step]:
    """Each rewriting of a version that a removal has recorded."""
    return {
        (one["asset"], one["partition"], one["before"], one["after"])
        for stone in read_tombstones(store)
        for one in stone.versions
    }


def _files_of(version: Version, store: Store, steps: Collection[Step]) -> Iterator[Finding]:
    if not version.is_checkpoint:
        for path in version.files:
            kind = f"table {version.key.asset}"
            found = _compared(path, version.left_as or version.key.sha256, kind, store)
            if version.left_as and found.state is State.INTACT:
                reason = _why_not_redacted(version, store, steps)
                found = replace(found, state=State.ALTERED if reason else State.REDACTED, reason=reason)
            yield found
        return
    ref = CheckpointRef(version.key.asset, version.key.partition, version.key.sha256, rows=0)
    folder = folder_of(ref)
    record = _compared(f"{folder}/{RECORD}", ref.sha256, "record of a checkpoint", store)
    yield record
    weights = None
    if record.state is State.INTACT:
        weights = json.loads(store.files.read(f"{folder}/{RECORD}")).get("weights_sha256")
    if weights is None and store.files.size(f"{folder}/{WEIGHTS}"):
        # What proves the weights is gone, and that is named already.
        return
    yield _compared(f"{folder}/{WEIGHTS}", weights or "", "weights of a checkpoint", store)


def _why_not_redacted(version: Version, store: Store, steps: Collection[Step]) -> str:
    """Why what stands in the place of a version is not proven to be what a removal left; empty where it is.

    The file that leads there can be written by anybody: the records of the removals have to say the same.
    """
    asset, partition, sha256 = version.key.asset, version.key.partition, version.key.sha256
    redactions = store.tables.redactions(asset, partition)
    while (after := redactions.get(sha256)) is not None:
        if (asset, partition, sha256, after) not in steps:
            if unfinished_plans(store.home):
                return (
                    f"a removal that is at work or was interrupted has not recorded yet what became of "
                    f"{sha256[:12]}: finish it with `selfai remove --resume`, then verify again"
                )
            return (
                f"redacted.json has it in the place of {sha256[:12]}, and no record of a removal says so: "
                f"put both, or the records ({store.files.path(RECORDS)}), back from a copy"
            )
        sha256 = after
    return ""


def _without_record(version: Version, store: Store) -> Finding:
    """The record of a version that is there no more, or cannot be read: its name is not known without it."""
    kind = f"record of {version.key.asset} {version.key.sha256[:12]}"
    return Finding(
        State.MISSING, kind, store.files.path(f"tables/{version.key.asset}/{version.key.partition}/records")
    )


def _promotions(store: Store) -> Iterator[Finding]:
    """The entries of the log of promotions: the files themselves, as a damaged log is not read at all."""
    kind = "entry of the log of promotions"
    for name in store.files.list(promotions.FOLDER):
        path = f"{promotions.FOLDER}/{name}"
        if match := promotions.NAME.fullmatch(name):
            yield _compared(path, match[2], kind, store)


def _compared(path: str, sha256: str, kind: str, store: Store) -> Finding:
    try:
        state = State.INTACT if _hash(store.files.read(path)) == sha256 else State.ALTERED
    except MissingVersion:
        state = State.MISSING
    return Finding(state, kind, store.files.path(path))


def _records_of(asset: str, partition: str, store: Store) -> Iterator[Finding]:
    """The records of a partition, which are named by their hash, and its pointer, which has to be one."""
    folder = store.tables.folder(asset, partition)
    names = [name.removesuffix(".json") for name in store.files.list(f"{folder}/records")]
    for name in names:
        yield _compared(f"{folder}/records/{name}.json", name, "record of a version", store)
    pointer = f"{folder}/current.json"
    if store.files.exists(pointer):
        state = State.INTACT if _hash(store.files.read(pointer)) in names else State.ALTERED
        yield Finding(state, "pointer to the current version", store.files.path(pointer))


def _named_in(audited: Audit, asset: str, column: str, archive: Archive) -> set[str]:
    """The hashes in a column over the versions of an asset; a table that cannot be read is named already."""
    named: set[str] = set()
    for version in audited.versions:
        if version.key.asset == asset:
            try:
                table = read_columns(archive.table_ref(version.key), [column], store=archive.store)
            except (MissingVersion, AlteredVersion):
                continue
            named.update(name for name in table[column].to_pylist() if name)
    return named


def _contents(hashes: Iterable[str], kind: str, contents: PictureStore) -> Iterator[Finding]:
    for sha256 in sorted(hashes):
        try:
            path = contents.relative_path(sha256)
        except ValueError:
            # Only an altered table holds such a name.
            yield Finding(State.ALTERED, kind, sha256)
            continue
        try:
            state = State.INTACT if _hash(contents.storage.read(path)) == sha256 else State.ALTERED
        except MissingVersion:
            state = State.MISSING
        yield Finding(state, kind, contents.storage.path(path))


def _copied_ratings(audited: Audit, store: Store) -> Iterator[Finding]:
    """The copies that `selfai import` made of files of ratings, which are named by their hash."""
    for use in audited.sources:
        folder = store.home.imports / use.source
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            if match := COPIED_RATINGS.fullmatch(path.name):
                intact = _hash(path.read_bytes()).startswith(match[1])
                yield Finding(State.INTACT if intact else State.ALTERED, "file of ratings", str(path))


def registered_copy(one: RegisteredVersion) -> Iterator[Finding]:
    """The files of a registered version, where they lie on this machine, against its checkpoint's hash."""
    address = urlsplit(one.source)
    if address.scheme not in ("", "file"):
        return
    folder = Path(unquote(address.path))
    kind = f"file of {one.model}@{one.version}"
    expected: dict[str, str] = {RECORD: one.checkpoint_sha256}
    content = folder / RECORD
    if content.is_file() and _hash(content.read_bytes()) == one.checkpoint_sha256:
        expected[WEIGHTS] = json.loads(content.read_bytes())["weights_sha256"]
    for name, sha256 in expected.items():
        path = folder / name
        if not path.is_file():
            yield Finding(State.MISSING, kind, str(path))
        else:
            state = State.INTACT if _hash(path.read_bytes()) == sha256 else State.ALTERED
            yield Finding(state, kind, str(path))


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
