"""Independent checks of a label table: what rows hold, and whether they lead back to ratings and crops."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from selfai_pipeline.errors import AlteredVersion, MissingVersion
from selfai_pipeline.labels.balance import classes_of
from selfai_pipeline.labels.distributions import Comparison, compare_splits, compare_versions
from selfai_pipeline.labels.splits import Split
from selfai_pipeline.schemas import SCORE_MAXIMUM, SCORE_MINIMUM
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Record, TableRef


@dataclass(frozen=True)
class Condition:
    """What is amiss in a label table.

    Counts of rows: `lost` crops that are not stored; `untraced` rows without a rating, or without their crop,
    in the versions that the table was made from; `odd` scores out of range or of another class, and standard
    errors that are no number; `outside` weights outside of training; `one_annotator` scores with fewer than
    two, `unknown_counts` means whose count is one, which may be one that nobody gave. `crossing` counts
    clusters that are in two splits; `weights` is the sum of them; `known_errors` counts standard errors.
    """

    rows: int
    splits: frozenset[str]
    lost: int
    untraced: int
    odd: int
    crossing: int
    outside: int
    weights: float
    one_annotator: int
    unknown_counts: int
    known_errors: int


def condition_of(labels: TableRef, record: Record, *, store: Store) -> Condition:
    """The condition of a label table.

    Args:
        record: what it was made from.

    Raises:
        MissingVersion: a version that it was made from is not in the store.
        AlteredVersion: a file was altered.
    """
    columns = ("image_id", "face", "crop_sha256", "partition", "score", "standard_error", "class")
    table = store.tables.read(labels, [*columns, "annotators", "cluster", "split", "weight"])
    of = {name: table[name].to_pylist() for name in (*columns, "annotators", "cluster", "split")}
    split, score = np.array(of["split"], dtype=np.str_), table["score"].to_numpy()
    weight, error = table["weight"].to_numpy(), table["standard_error"].drop_null().to_numpy()
    single, means = _rated(record, store)
    crops = _crops(record, set(of["partition"]), store)
    traced = [
        (image_id in single or image_id in means) and crop in crops
        for image_id, crop in zip(of["image_id"], _keys(of), strict=True)
    ]
    few = [one for one, count in zip(of["image_id"], of["annotators"], strict=True) if count < 2]
    # The ratings of single annotators count for more than a mean, where there are as many as are asked for.
    singles_count = record.settings.get("least_annotators", 2) < 2
    unknown = sum(one in means and not (singles_count and one in single) for one in few)
    inside = (score >= SCORE_MINIMUM) & (score <= SCORE_MAXIMUM)
    placed = inside & (classes_of(np.where(inside, score, 0.0)) == np.array(of["class"], dtype=np.int64))
    return Condition(
        rows=table.num_rows,
        splits=frozenset(of["split"]),
        lost=sum(one not in store.crops for one in of["crop_sha256"]),
        untraced=len(traced) - sum(traced),
        odd=int((~placed).sum()) + int((~(np.isfinite(error) & (error >= 0))).sum()),
        crossing=len(set(zip(of["cluster"], of["split"], strict=True))) - len(set(of["cluster"])),
        outside=int(((weight != 0) & (split != Split.TRAIN)).sum()),
        weights=float(weight.sum()),
        one_annotator=len(few) - unknown,
        unknown_counts=unknown,
        known_errors=len(error),
    )


def beside_training(labels: TableRef, *, store: Store) -> dict[str, Comparison]:
    """The scores of validation and of test, each beside those of training.

    It is the one look at the scores of the test split before the report, and nothing is chosen by it.
    """
    table = store.tables.read(labels, ["score", "split", "cluster"])
    score, split = table["score"].to_numpy(), np.array(table["split"].to_pylist(), dtype=np.str_)
    cluster = np.array(table["cluster"].to_pylist(), dtype=np.str_)
    train = split == Split.TRAIN
    return {
        str(side): compare_splits(
            score[mine], score[train], clusters=cluster[mine].tolist(), other_clusters=cluster[train].tolist()
        )
        for side in (Split.VALIDATION, Split.TEST)
        for mine in [split == side]
    }


def beside_version_before(labels: TableRef, *, store: Store) -> Comparison | None:
    """The scores beside those of the latest version before that passed its checks; None without one.

    A version that is lost or altered is as good as none.
    """
    try:
        before = store.tables.passed_before(labels)
        if not isinstance(before, TableRef):
            return None
        earlier = store.tables.read(before, ["score"])["score"].to_numpy()
    except (MissingVersion, AlteredVersion):
        return None
    return compare_versions(store.tables.read(labels, ["score"])["score"].to_numpy(), earlier)


def _rated(record: Record, store: Store) -> tuple[set[str], set[str]]:
    """Pictures with a single rating, and pictures with a mean, in the version that was read."""
    single: set[str] = set()
    means: set[str] = set()
    for partition, sha256 in record.inputs["annotations"].items():
        table = store.tables.read(TableRef("annotations", partition, sha256, -1), ["image_id", "annotator"])
        is_single = table["annotator"].is_valid()
        ids = table["image_id"]
        single.update(ids.filter(is_single).to_pylist())
        means.update(ids.filter(table["annotator"].is_null()).to_pylist())
    return single, means


def _crops(record: Record, partitions: set[str], store: Store) -> set[tuple[str, ...]]:
    """Partition, picture, face and crop of every face that the labels could be made of."""
    found: set[tuple[str, ...]] = set()
    for partition in partitions & set(record.inputs["aligned_faces"]):
        ref = TableRef("aligned_faces", partition, record.inputs["aligned_faces"][partition], -1)
        table = store.tables.read(ref, ["image_id", "face", "crop_sha256"])
        columns = {name: table[name].to_pylist() for name in table.column_names}
        found.update(_keys({**columns, "partition": [partition] * table.num_rows}))
    return found


def _keys(columns: Mapping[str, Iterable[object]]) -> list[tuple[str, ...]]:
    names = ("partition", "image_id", "face", "crop_sha256")
    return list(zip(*(map(str, columns[name]) for name in names), strict=True))
