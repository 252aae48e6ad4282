"""Groups of near-duplicates: connected components of perceptual hashes within a Hamming radius."""

import numpy as np
import numpy.typing as npt

_QUERIES = 4096


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
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

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
    row, column = np.concatenate(rows), np.concatenate(columns)
    graph = coo_array((np.ones(len(row), dtype=bool), (row, column)), shape=(len(distinct), len(distinct)))
    _, component = connected_components(graph, directed=False)
    labels = component[index]
    smallest = np.full(labels.max() + 1, len(hashes), dtype=np.int64)
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
