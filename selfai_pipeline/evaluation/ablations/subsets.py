"""Versions of a label table with some of its faces: those of a group, or a share of the training faces."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef

if TYPE_CHECKING:
    import pyarrow as pa

Flags = npt.NDArray[np.bool_]


def of_group(labels: TableRef, group: str, *, store: Store) -> TableRef:
    """The faces of one group, in all splits."""
    table = store.tables.read(labels)
    return _write(table, np.array(table["group"].to_pylist(), dtype=object) == group, labels, store)


def of_share(labels: TableRef, share: float, *, seed: int, store: Store) -> TableRef:
    """A share of the training faces; validation and test stay whole.

    Raises:
        ValueError: the share is not above 0 and at most 1.
    """
    table = store.tables.read(labels)
    splits = np.array(table["split"].to_pylist(), dtype=object)
    train = np.flatnonzero(splits == "train")
    kept = splits != "train"
    classes, names = table["class"].to_pylist(), table["image_id"].to_pylist()
    kept[train] = in_share(
        [classes[row] for row in train], [names[row] for row in train], share=share, seed=seed
    )
    return _write(table, kept, labels, store)


def in_share(classes: Sequence[int], names: Sequence[str], *, share: float, seed: int) -> Flags:
    """Which faces are in a share, [n]: of each score class as large a part, rounded up.

    A smaller share of the same seed lies inside every larger one.

    Args:
        classes: score class of each face.
        names: what orders the faces of a class, once hashed with the seed.
        share: above 0, at most 1.
    """
    if not 0 < share <= 1:
        raise ValueError(f"a share lies above 0 and is 1 at most, not {share}")
    of_class: dict[int, list[int]] = defaultdict(list)
    for row, number in enumerate(classes):
        of_class[number].append(row)
    chosen = np.zeros(len(classes), bool)
    for rows in of_class.values():
        ordered = sorted(rows, key=lambda row: hashlib.sha256(f"{seed}/{names[row]}".encode()).digest())
        chosen[ordered[: math.ceil(round(share * len(rows), 9))]] = True
    return chosen


def _write(table: "pa.Table", kept: Any, labels: TableRef, store: Store) -> TableRef:
    """The rows that are kept as a version of the label table; weights are a distribution again."""
    import pyarrow as pa

    table = table.filter(pa.array(np.asarray(kept, bool)))
    weights = table["weight"].to_numpy()
    if weights.sum() > 0:
        weights = weights / weights.sum()
    place = table.schema.get_field_index("weight")
    table = table.set_column(place, table.schema.field(place), pa.array(weights))
    facts = store.tables.facts(labels)
    return store.tables.write(table, asset=labels.asset, partition=labels.partition, facts=facts)
