"""Versions of tables, without the rows that a removal takes out."""

import json
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from selfai_pipeline.errors import MissingVersion
from selfai_pipeline.lineage.versions import Archive, VersionKey
from selfai_pipeline.removal.subjects import MEND_ALTERED, TEXTS, Known, Subjects
from selfai_pipeline.removal.texts import Needles
from selfai_pipeline.store import Store
from selfai_pipeline.tables import FACTS_KEY, TableRef

if TYPE_CHECKING:
    import pyarrow as pa

NAMING = {"pruned_set": "duplicate_of", "balanced_label_table": "cluster"}
"""Columns that name another picture."""

BY_LABELS = "ablation_run"
"""Has scores of single faces in the order of the label table that it was made from, and names none."""

REDACTED_ROWS = "redacted_rows"
"""The fact that says how many rows of a version removals took out."""


def versions_with(subjects: Subjects, known: Known) -> Iterator[VersionKey]:
    """The versions that hold or name any of it; of ablations those that stand on such a label table.

    Raises:
        AlteredVersion: a version cannot be read, or its bytes are not what its name says: it is not written
            anew, or it would be taken for sound from then on.
    """
    labels: set[VersionKey] = set()
    needles = Needles.of(subjects)
    for key in known.keys(*(known.assets - {BY_LABELS})):
        if _holds(key, subjects, known) or needles.scrubbed(words := known.texts(key)) != words:
            if key.asset == "balanced_label_table":
                labels.add(key)
            yield _checked(key, known)
    for key in known.keys(BY_LABELS):
        if stands_on(key, labels, known.archive):
            yield _checked(key, known)


def stands_on(key: VersionKey, files: Collection[VersionKey], archive: Archive) -> bool:
    """Whether a version, or anything that it was made from, is one of these files by now."""
    return any(
        VersionKey(one.key.asset, one.key.partition, one.left_as or one.key.sha256) in files
        or one.key in files
        for one in archive.upstream(key)
    )


def _checked(key: VersionKey, known: Known) -> VersionKey:
    """The version, once its bytes were found to hash to its name."""
    store = known.archive.store
    path = store.tables.path(TableRef(key.asset, key.partition, key.sha256, 0))
    store.files.read_verified(path, key.sha256, mend=MEND_ALTERED)
    return key


def _holds(key: VersionKey, subjects: Subjects, known: Known) -> bool:
    names = ["image_id", "source", "url", "annotator"]
    names += [NAMING[key.asset]] if key.asset in NAMING else []
    columns = known.columns(key, *names)
    ids = subjects.image_ids
    if not ids.isdisjoint(columns["image_id"]) or not subjects.annotators.isdisjoint(columns["annotator"]):
        return True
    if key.asset in NAMING and not ids.isdisjoint(columns[NAMING[key.asset]]):
        return True
    if not (subjects.urls or subjects.paths or subjects.hosts):
        return False
    return any(
        subjects.has_row(source, url)
        for source, url in zip(columns["source"], columns["url"], strict=True)
        if url is not None
    )


def redact(key: VersionKey, subjects: Subjects, *, store: Store) -> None:
    """Take the rows out of a version; one that is gone already is left alone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    ref = TableRef(key.asset, key.partition, key.sha256, rows=0)
    path = store.tables.path(ref)
    try:
        content = store.files.read_verified(path, key.sha256, mend=MEND_ALTERED)
    except MissingVersion:
        return
    table = pq.ParquetFile(pa.BufferReader(content), pre_buffer=False).read(use_threads=False)
    facts: dict[str, Any] = json.loads((table.schema.metadata or {}).get(FACTS_KEY, b"{}"))
    left = _left(table, key.asset, subjects)
    needles = Needles.of(subjects)
    for name in TEXTS:
        if name in left.column_names:
            said = left[name].to_pylist()
            left = _with(left, name, [word if word is None else needles.scrubbed(word) for word in said])
    facts = json.loads(needles.scrubbed(json.dumps(facts, ensure_ascii=False)))
    facts[REDACTED_ROWS] = int(facts.get(REDACTED_ROWS, 0)) + table.num_rows - left.num_rows
    store.tables.redact(ref, left, facts)


def _left(table: "pa.Table", asset: str, subjects: Subjects) -> "pa.Table":
    """The rows that stay, and what of them names what goes taken out."""
    import pyarrow as pa

    def column(name: str) -> list[Any]:
        return table[name].to_pylist() if name in table.column_names else [None] * table.num_rows

    stays = [
        image_id not in subjects.image_ids
        and annotator not in subjects.annotators
        and (url is None or not subjects.has_row(source, url))
        for image_id, annotator, source, url in zip(
            *(column(name) for name in ("image_id", "annotator", "source", "url")), strict=True
        )
    ]
    left = table.filter(pa.array(stays, pa.bool_()))
    if asset == "pruned_set":
        named = left["duplicate_of"].to_pylist()
        left = _with(left, "duplicate_of", [None if one in subjects.image_ids else one for one in named])
    elif asset == "balanced_label_table":
        left = _with(left, "cluster", _clusters(left, subjects))
        weights = left["weight"].to_numpy()
        if weights.sum() > 0:
            # They are a distribution over the training faces.
            left = _with(left, "weight", weights / weights.sum())
    elif asset == BY_LABELS:
        left = _with(left, "predicted", [[] for _ in range(left.num_rows)])
    return left


def _clusters(left: "pa.Table", subjects: Subjects) -> list[str]:
    """Names of clusters: where a removed picture named one, the first of its pictures does."""
    ids, named = left["image_id"].to_pylist(), left["cluster"].to_pylist()
    first: dict[str, str] = {}
    for image_id, cluster in zip(ids, named, strict=True):
        first[cluster] = min(image_id, first.get(cluster, image_id))
    return [first[cluster] if cluster in subjects.image_ids else cluster for cluster in named]


def _with(table: "pa.Table", name: str, values: Any) -> "pa.Table":
    import pyarrow as pa

    place = table.schema.get_field_index(name)
    field = table.schema.field(place)
    return table.set_column(place, field, pa.array(values, type=field.type))
