"""Groups of near-duplicates: what hashes alike within a Hamming radius, and what is verified to be a copy."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from selfai_pipeline.pictures.copies import copied_in, joining_pairs
from selfai_pipeline.pictures.measures import THUMBNAIL_SIDE

_QUERIES = 4096

Hashes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Known:
    """What earlier searches have found among n pictures.

    Attributes:
        compared: int64 [n]: pictures with one number, 0 or more, were all compared with one another; -1 of
            any other.
        pairs: int64 [m, 2], copies among those, as many as it takes to join all that they connect.
    """

    compared: npt.NDArray[np.int64]
    pairs: npt.NDArray[np.int64]

    @classmethod
    def nothing(cls, n: int) -> "Known":
        return cls(np.full(n, -1, dtype=np.int64), np.zeros((0, 2), dtype=np.int64))


def duplicate_groups(
    hashes: Sequence[bytes],
    thumbnails: Sequence[bytes | None],
    *,
    radius: int,
    least_correlation: float,
    known: Known | None = None,
) -> npt.NDArray[np.int64]:
    """The group of each picture, independent of their order: copies of one another, and copies of copies.

    Two pictures are copies where their hashes differ in at most `radius` bits, or where the thumbnail of one,
    or a window of it, mirrored or not, correlates with that of the other (see `joining_pairs`).

    Args:
        hashes: n of `perceptual_hash`.
        thumbnails: n of `thumbnail_of` as bytes; a picture without one is judged by its hash alone.
        radius: bits of 256, 0 or more.
        least_correlation: of two thumbnails, up to 1; above 1 the hashes alone count.
        known: what earlier searches by this rule, or one that finds more, have found.

    Returns:
        int64 [n]: the smallest index in the row's group.
    """
    groups = near_duplicate_clusters(_rows(hashes), radius=radius)
    known = Known.nothing(len(hashes)) if known is None else known
    first_of: dict[bytes, int] = {}
    links = [(row, first) for row, first in enumerate(groups.tolist()) if row != first]
    for row, thumbnail in enumerate(thumbnails):
        if thumbnail is not None and row != (first := first_of.setdefault(thumbnail, row)):
            links.append((row, first))
    found = np.concatenate([np.array(links, dtype=np.int64).reshape(-1, 2), known.pairs])
    groups = connected(len(hashes), found)
    rows = np.fromiter(first_of.values(), dtype=np.int64, count=len(first_of))
    pairs = joining_pairs(
        _squares(list(first_of)),
        groups[rows],
        least_correlation=least_correlation,
        compared=known.compared[rows],
    )
    return connected(len(hashes), np.concatenate([found, rows[pairs]]))


def have_copies(
    hashes: Sequence[bytes],
    thumbnails: Sequence[bytes | None],
    *,
    of_hashes: Sequence[bytes],
    of_thumbnails: Sequence[bytes | None],
    radius: int,
    least_correlation: float,
) -> npt.NDArray[np.bool_]:
    """Which of n pictures have a copy among others, by the rule of `duplicate_groups`: bool [n]."""
    if not hashes or not of_hashes:
        return np.zeros(len(hashes), dtype=bool)
    found = nearest_distances(_rows(hashes), _rows(of_hashes)) <= radius
    rows = np.array([row for row, one in enumerate(thumbnails) if one is not None], dtype=np.int64)
    ours = _squares([one for one in thumbnails if one is not None])
    theirs = _squares([one for one in of_thumbnails if one is not None])
    found[rows] |= copied_in(ours, theirs, least_correlation=least_correlation)
    return np.asarray(found, dtype=bool)


def connected(n: int, pairs: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The smallest index, int64 [n], of each row's connected component; `pairs` [m, 2] are its links."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    components, component = connected_components(graph, directed=False)
    smallest = np.full(components, n, dtype=np.int64)
    np.minimum.at(smallest, component, np.arange(n, dtype=np.int64))
    return np.asarray(smallest[component], dtype=np.int64)


def _rows(hashes: Sequence[bytes]) -> Hashes:
    return np.frombuffer(b"".join(hashes), dtype=np.uint8).reshape(len(hashes), -1 if hashes else 32)


def _squares(thumbnails: Sequence[bytes]) -> npt.NDArray[np.uint8]:
    joined = np.frombuffer(b"".join(thumbnails), dtype=np.uint8)
    return joined.reshape(len(thumbnails), THUMBNAIL_SIDE, THUMBNAIL_SIDE)


def near_duplicate_clusters(hashes: npt.NDArray[np.uint8], *, radius: int) -> npt.NDArray[np.int64]:
    """The group of each picture, found by an exact search (no approximation), independent of their order.

    Two pictures are neighbours when their hashes differ in at most `radius` bits; neighbours of neighbours
    are in one group. Memory grows with the neighbouring pairs of *different* hashes, not with the square
    of the number of pictures: equal hashes are searched once.

    Args:
        hashes: uint8 [n, bytes of a hash], a hash a row.
        radius: bits, 0 or more.

    Returns:
        int64 [n]: the smallest index in the row's group.
    """
    import faiss

    if hashes.ndim != 2 or hashes.dtype != np.uint8:
        raise ValueError(f"hashes have to be uint8 [n, bytes], not {hashes.dtype} {list(hashes.shape)}")
    if not len(hashes):
        return np.zeros(0, dtype=np.int64)
    distinct, index = np.unique(hashes, axis=0, return_inverse=True)
    index = index.reshape(-1)
    search = faiss.IndexBinaryFlat(8 * hashes.shape[1])
    search.add(np.ascontiguousarray(distinct))
    rows, columns = [], []
    for start in range(0, len(distinct), _QUERIES):
        # faiss leaves out what lies exactly at the radius.
        limits, _, found = search.range_search(distinct[start : start + _QUERIES], radius + 1)
        per_query = np.diff(limits.astype(np.int64)).astype(np.int64)
        queries = np.repeat(np.arange(len(per_query)) + start, per_query)
        nearer = queries < found
        rows.append(queries[nearer])
        columns.append(found[nearer])
    pairs = np.stack([np.concatenate(rows), np.concatenate(columns)], axis=1)
    labels = connected(len(distinct), pairs)[index]
    smallest = np.full(len(distinct), len(hashes), dtype=np.int64)
    np.minimum.at(smallest, labels, np.arange(len(hashes), dtype=np.int64))
    return np.asarray(smallest[labels], dtype=np.int64)


def nearest_distances(hashes: npt.NDArray[np.uint8], others: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Bits, int64 [n], by which each of `hashes` [n, bytes] differs from the nearest of `others` [m, bytes].

    An exact search; m is 1 or more.
    """
    import faiss

    search = faiss.IndexBinaryFlat(8 * others.shape[1])
    search.add(np.ascontiguousarray(others))
    distances, _ = search.search(np.ascontiguousarray(hashes), 1)
    return np.asarray(distances[:, 0], dtype=np.int64)
