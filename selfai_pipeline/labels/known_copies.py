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
from selfai_pipeline.pictures.duplicates import duplicate_groups
from selfai_pipeline.storage import replace_file

logger = logging.getLogger("selfai.labels")

Codes = npt.NDArray[np.int64]
Digests = npt.NDArray[np.uint8]


def groups_of_copies(
    hashes: Sequence[bytes],
    thumbnails: Sequence[bytes | None],
    *,
    radius: int,
    least_correlation: float,
    cache: Path | None = None,
) -> Codes:
    """The groups of `duplicate_groups`: the same with a cache and without.

    Args:
        cache: folder of a file a rule, which holds a digest and the group of each picture of the last search;
            None: everything is searched. A damaged file is as good as none.
    """
    if cache is None:
        return duplicate_groups(hashes, thumbnails, radius=radius, least_correlation=least_correlation)
    file = cache / f"{COPIES}-{radius}-{least_correlation}.npz"
    digests = _digests(hashes, thumbnails)
    known = _still_known(file, digests)
    new = int((known < 0).sum())
    groups = duplicate_groups(
        hashes, thumbnails, radius=radius, least_correlation=least_correlation, known=known
    )
    if new:
        logger.info(
            "searched for copies of %d faces, %d of %d were searched before",
            new,
            len(known) - new,
            len(known),
        )
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
    nothing = np.full(len(digests), -1, dtype=np.int64)
    try:
        with np.load(file, allow_pickle=False) as stored:
            before, groups = stored["digests"], stored["groups"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return nothing
    if before.dtype != np.uint8 or before.shape != (len(groups), 32) or groups.dtype != np.int64:
        return nothing
    place: dict[bytes, int] = {}
    for index, one in enumerate(digests):
        place.setdefault(one.tobytes(), index)
    now = np.array([place.get(one.tobytes(), -1) for one in before], dtype=np.int64)
    _, group = np.unique(groups, return_inverse=True)
    whole = np.bincount(group, now < 0) == 0
    member = np.full(len(whole), -1, dtype=np.int64)
    member[group] = now
    kept = whole[group]
    nothing[now[kept]] = member[group[kept]]
    return nothing
