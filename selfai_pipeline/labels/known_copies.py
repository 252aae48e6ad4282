"""Near-duplicates among all faces; those of the last search are known, and only new ones are searched for."""

import hashlib
import io
import logging
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from selfai_pipeline.pictures.copies import COPIES
from selfai_pipeline.pictures.duplicates import Known, duplicate_groups
from selfai_pipeline.storage import replace_file
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Snapshot

logger = logging.getLogger("selfai.labels")

Codes = npt.NDArray[np.int64]
Digests = npt.NDArray[np.uint8]


def days_without_copies(
    aligned_faces: Snapshot, store: Store, *, radius: int, least_correlation: float
) -> set[str]:
    """The days of which pruning has kept no two near-duplicates, by this rule or a wider one.

    A day of which no record says how it was pruned is none of them.
    """
    days = set()
    for day, ref in aligned_faces.tables.items():
        made_from = {
            record.inputs.get("pruned_set", {}).get(day)
            for record in store.tables.records("aligned_faces", day)
            if record.ref.sha256 == ref.sha256
        }
        for record in store.tables.records("pruned_set", day):
            rule = record.settings
            if (
                record.ref.sha256 in made_from
                and rule.get("duplicate_radius", -1) >= radius
                and rule.get("duplicate_correlation", np.inf) <= least_correlation
            ):
                days.add(day)
    return days


def groups_of_copies(
    hashes: Sequence[bytes],
    thumbnails: Sequence[bytes | None],
    *,
    radius: int,
    least_correlation: float,
    days: Sequence[str | None] | None = None,
    cache: Path | None = None,
) -> Codes:
    """The groups of `duplicate_groups`: the same whatever is known already.

    Args:
        days: of each picture one on which pruning has left no two copies; None where there is no such day.
        cache: folder of a file a rule, which holds a digest and the group of each picture of the last search;
            None: there is none. A damaged file is as good as none.
    """
    names = [None] * len(hashes) if days is None else list(days)
    number = {name: index for index, name in enumerate(sorted({one for one in names if one is not None}))}
    compared = np.array([-1 if one is None else 1 + number[one] for one in names], dtype=np.int64)
    if cache is None:
        known = Known(compared, Known.nothing(0).pairs)
        return duplicate_groups(
            hashes, thumbnails, radius=radius, least_correlation=least_correlation, known=known
        )
    file = cache / f"{COPIES}-{radius}-{least_correlation}.npz"
    digests = _digests(hashes, thumbnails)
    member = _still_known(file, digests)
    rows = np.flatnonzero(member >= 0)
    compared[rows] = 0
    groups = duplicate_groups(
        hashes,
        thumbnails,
        radius=radius,
        least_correlation=least_correlation,
        known=Known(compared, np.stack([rows, member[rows]], axis=1)),
    )
    logger.info("%d of %d faces were compared with each other before", len(rows), len(digests))
    sink = io.BytesIO()
    np.savez(sink, digests=digests, groups=groups)
    replace_file(file, sink.getvalue())
    return groups


def _digests(hashes: Sequence[bytes], thumbnails: Sequence[bytes | None]) -> Digests:
    """SHA-256 over what copies are found by, uint8 [n, 32]."""
    found = [
        hashlib.sha256(one + (thumbnail or b"")).digest()
        for one, thumbnail in zip(hashes, thumbnails, strict=True)
    ]
    return np.frombuffer(b"".join(found), dtype=np.uint8).reshape(len(found), 32)


def _still_known(file: Path, digests: Digests) -> Codes:
    """The group of each picture that the file holds, as the index of one member; -1 for the others.

    A group that has lost a member is not known: it may have held the others together.
    """
    known = np.full(len(digests), -1, dtype=np.int64)
    try:
        with np.load(file, allow_pickle=False) as stored:
            before, groups = stored["digests"], stored["groups"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return known
    if before.dtype != np.uint8 or before.shape != (len(groups), 32) or groups.dtype != np.int64:
        return known
    place: dict[bytes, int] = {}
    for index, one in enumerate(digests):
        place.setdefault(one.tobytes(), index)
    now = np.array([place.get(one.tobytes(), -1) for one in before], dtype=np.int64)
    _, group = np.unique(groups, return_inverse=True)
    whole = np.bincount(group, now < 0) == 0
    member = np.full(len(whole), -1, dtype=np.int64)
    member[group] = now
    kept = whole[group]
    known[now[kept]] = member[group[kept]]
    return known
