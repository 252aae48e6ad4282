"""Copies that a hash of the whole picture misses: cropped, mirrored, captioned.

A crop of a twentieth moves the hash as far as another face in the same pose does. So the search goes over
windows: some part of one picture, stretched to the whole, hashes like the other picture. What is found so
at a wide radius is verified on the thumbnails, where a copy and a face alike are far apart.

Searched are, of each picture, 25 windows (the whole; 1.25 or 3.75 % cut from each edge; 5 to 12.5 % cut at
the top or the bottom, where captions are put) against the whole of every other as it is and mirrored; and its
upper and its lower 85 % against the same part of every other, where a caption covers the rest.

Cost: 52 n^2 comparisons of 256 bits for n pictures, about 1 ns each on one core (a minute for 30,000) and by
a thread a core, and a third of a millisecond a candidate. Memory: 5 KB a picture, and some 100 MB that do not
grow.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from selfai_pipeline.environment import usable_cores
from selfai_pipeline.pictures.measures import THUMBNAIL_SIDE
from selfai_pipeline.pictures.perceptual_hash import FREQUENCIES, HASH_BYTES, dct_rows

Thumbnails = npt.NDArray[np.uint8]
Reals = npt.NDArray[np.float32]
Pairs = npt.NDArray[np.int64]
Cut = tuple[float, float]
"""Shares of a side that are cut at its beginning and at its end."""

COPIES = "1"
"""Raise it with every change to what counts as a copy: groups of another version are not taken over."""

CANDIDATE_RADIUS = 56
"""Bits, of 256, up to which a window is verified: the corner crops that lie furthest from any window are
within it, and of pairs of different faces in one framing about one in 2,000 is."""

_LEAST_COARSE, _LEAST_AT_FIRST = 0.8, 0.72
"""Cosines of the 16 lowest frequencies, and of 32 once the columns are aligned, from which verifying goes on.
Corner crops, the furthest from any window, lay at 0.84 and 0.80 and above, most other candidates below."""

_SEARCHED_SIDE = 32
_NONE: Cut = (0.0, 0.0)
_CROPS: tuple[Cut, ...] = tuple((a, b) for a in (0.0125, 0.0375) for b in (0.0125, 0.0375))
_CAPTIONS: tuple[Cut, ...] = tuple(
    cut for share in (0.05, 0.075, 0.1, 0.125) for cut in ((0.0, share), (share, 0.0))
)
_COVERED: tuple[Cut, ...] = ((0.0, 0.15), (0.15, 0.0))
_BANDS: tuple[Cut, ...] = (_NONE, *_CAPTIONS, *_COVERED)
_WINDOWS: tuple[tuple[Cut, Cut], ...] = (
    *((rows, _NONE) for rows in _BANDS),
    *product(_CROPS, _CROPS),
)
"""(cut of the rows, cut of the columns); the whole first."""

WHOLE = 0
_PARTS = tuple(_WINDOWS.index((rows, _NONE)) for rows in _COVERED)
_WHOLES = tuple(index for index in range(len(_WINDOWS)) if index not in _PARTS)

_MIRROR = np.packbits(np.tile([False, True], FREQUENCIES**2 // 2))
"""The bits of a hash that change in a mirror image: those of odd frequencies along a row."""

_VERIFIED_FREQUENCIES = 32
_ODD = ((-1.0) ** np.arange(_VERIFIED_FREQUENCIES)).astype(np.float32)
"""What frequencies along a row are multiplied by in a mirror image."""

_EVEN = 1e-6
_FINE = (-0.0125, -0.00625, 0.0, 0.00625, 0.0125)
_HITS_AT_ONCE = 4_000_000
_ROWS_AT_ONCE = 64
"""Of which all windows are searched in one call: with fewer, the others come from memory each time."""

_PICTURES_AT_ONCE = 256


def joining_pairs(
    thumbnails: Thumbnails,
    groups: npt.NDArray[np.int64],
    *,
    least_correlation: float,
    compared: npt.NDArray[np.int64] | None = None,
) -> Pairs:
    """Pairs of copies that join groups of pictures, as many as it takes to join all that copies connect.

    Two pictures are copies where a window of either is a copy of the other. Whether they are does not depend
    on what else is searched, nor on the order; a pair whose groups are joined already is not looked at, so
    that a thousand copies of one picture cost a thousand comparisons and not a million.

    Args:
        thumbnails: uint8 [n, 64, 64], see `thumbnail_of`.
        groups: int64 [n]: equal where two pictures are known to be in one group.
        least_correlation: see `aligned_correlation`; above 1 there are none.
        compared: int64 [n]: of pictures with one number, 0 or more, it is known which are copies of one
            another, and `groups` has it; pairs of them are not searched. -1 of any other. Default: all -1.

    Returns:
        int64 [p, 2], rows of `thumbnails`.
    """
    leader = list(range(int(groups.max()) + 1)) if len(groups) else []

    def group_of(row: int) -> int:
        place = int(groups[row])
        while leader[place] != place:
            leader[place] = leader[leader[place]]
            place = leader[place]
        return place

    pairs = []
    if least_correlation <= 1 and len(thumbnails):
        if compared is None:
            compared = np.full(len(thumbnails), -1, dtype=np.int64)
        for row, other, part, mirrored in _candidates_but(thumbnails, compared):
            ours, theirs = group_of(row), group_of(other)
            if ours == theirs:
                continue
            alike = aligned_correlation(
                thumbnails[row],
                thumbnails[other],
                part=part,
                mirrored=mirrored,
                enough=least_correlation,
            )
            if alike >= least_correlation:
                leader[ours] = theirs
                pairs.append((row, other))
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def copied_in(
    thumbnails: Thumbnails, others: Thumbnails, *, least_correlation: float
) -> npt.NDArray[np.bool_]:
    """Which of n pictures have a copy, as in `joining_pairs`, among m others: bool [n]."""
    found = np.zeros(len(thumbnails), dtype=bool)
    if least_correlation > 1:
        return found
    for ours_cut in (True, False):
        first, second = (thumbnails, others) if ours_cut else (others, thumbnails)
        for cut, whole, part, mirrored in _candidates(first, second):
            row = cut if ours_cut else whole
            if not found[row]:
                found[row] = least_correlation <= aligned_correlation(
                    first[cut], second[whole], part=part, mirrored=mirrored, enough=least_correlation
                )
    return found


def aligned_correlation(
    picture: Thumbnails, other: Thumbnails, *, part: int, mirrored: bool, enough: float = 1.0
) -> float:
    """How alike a window of one picture and another are, at most 1: the cosine of their spectra.

    The spectrum is that of the 32 lowest frequencies each way without the mean, each divided by its usual
    size (1 / f, as natural pictures have it), so that fine detail counts as much as the framing. From the two
    windows that are nearest in the 16 lowest frequencies, the edges are moved by up to 1.25 % each, the
    columns and the rows in turns, to where the cosine is highest. -1 where no window is near in those 16.

    Args:
        part: `WHOLE`, or which of the parts beside a caption is compared with the same part of `other`.
        mirrored: compare with the mirror image of `other`.
        enough: a cosine at which the search for a higher one ends.
    """
    members = list(_WHOLES) if part == WHOLE else [part]
    aim = _coarse_spectra(other.tobytes())[part]
    if mirrored:
        aim = aim * _ODD[:FREQUENCIES]
    cosines = _cosines(_coarse_spectra(picture.tobytes())[members], aim)
    if cosines.max() < _LEAST_COARSE:
        return -1.0
    rows, columns = _WINDOWS[part]
    target = _spectrum(_transform(rows) @ other @ _transform(columns).T)
    if mirrored:
        target = target * _ODD
    best = -1.0
    for index in np.argsort(-cosines, kind="stable")[:2]:
        rows, columns = _WINDOWS[members[index]]
        best = max(best, _refined(picture, target, rows=rows, columns=columns, enough=enough))
        if best >= enough:
            break
    return best


def _refined(picture: Thumbnails, target: Reals, *, rows: Cut, columns: Cut, enough: float) -> float:
    """The highest cosine with `target` among windows whose edges are moved a little."""
    best = -1.0
    half: npt.NDArray[Any] = _transform(rows) @ picture
    for along_columns in (True, False, True):
        bank = _bank(columns if along_columns else rows)
        tried = half @ bank.transpose(0, 2, 1) if along_columns else bank @ half
        weighted = tried * _weights(_VERIFIED_FREQUENCIES)
        lengths = np.sqrt(np.einsum("nij,nij->n", weighted, weighted))
        cosines = _cosines(weighted, target) / np.maximum(lengths, _EVEN)
        index = int(cosines.argmax())
        best = max(best, float(cosines[index]))
        if best < _LEAST_AT_FIRST or best >= enough:
            break
        half = picture @ bank[index].T if along_columns else bank[index] @ picture
    return best


def _cosines(spectra: Reals, target: Reals) -> Reals:
    """Inner products, float32 [n], of spectra [n, f, f] and one [f, f]."""
    return np.asarray(np.einsum("nij,ij->n", spectra, target), dtype=np.float32)


@lru_cache(maxsize=512)
def _coarse_spectra(thumbnail: bytes) -> Reals:
    """The spectra of the 16 lowest frequencies of each window: float32 [windows, 16, 16]."""
    side = THUMBNAIL_SIDE
    return _spectrum(_window_frequencies(np.frombuffer(thumbnail, np.uint8).reshape(1, side, side))[0])


def _candidates_but(
    thumbnails: Thumbnails, compared: npt.NDArray[np.int64]
) -> Iterator[tuple[int, int, int, bool]]:
    """As `_candidates` of all pictures among each other, without the pairs of which each was compared."""
    numbers = np.unique(compared)
    if len(numbers) == 1 and numbers[0] >= 0:
        return
    windows = _window_hashes(thumbnails)
    before = np.zeros(0, dtype=np.int64)
    for number in numbers:
        rows = np.flatnonzero(compared == number)
        searches = [(rows, before), (before, rows)] if len(before) else []
        searches += [(rows, rows)] if number < 0 else []
        for ours, theirs in searches:
            for row, other, part, mirrored in _near(windows[ours], windows[theirs], same=ours is theirs):
                yield int(ours[row]), int(theirs[other]), part, mirrored
        before = np.concatenate([before, rows])


def _candidates(thumbnails: Thumbnails, others: Thumbnails) -> Iterator[tuple[int, int, int, bool]]:
    """(row, row of the other, part, mirrored): once for each part, of pictures with a window near enough."""
    if len(thumbnails) and len(others):
        yield from _near(_window_hashes(thumbnails), _window_hashes(others), same=False)


def _near(
    windows: npt.NDArray[np.uint8], others: npt.NDArray[np.uint8], *, same: bool
) -> Iterator[tuple[int, int, int, bool]]:
    """`_candidates` by the hashes of their windows; of one set with itself, each row's own is left out."""
    import faiss

    wholes = faiss.IndexBinaryFlat(8 * HASH_BYTES)
    wholes.add(np.ascontiguousarray(others[:, WHOLE]))
    wholes.add(others[:, WHOLE] ^ _MIRROR)
    searches = [(wholes, WHOLE, _WHOLES)]
    for part in _PARTS:
        index = faiss.IndexBinaryFlat(8 * HASH_BYTES)
        index.add(np.ascontiguousarray(others[:, part]))
        searches.append((index, part, (part,)))

    def found(start: int, stop: int) -> list[tuple[int, Pairs]]:
        # One thread each: those of OpenMP wait for one another at full speed, which stalls on a busy machine.
        faiss.omp_set_num_threads(1)
        of_parts = []
        for search, part, members in searches:
            queries = np.ascontiguousarray(windows[start:stop, members]).reshape(-1, HASH_BYTES)
            # faiss leaves out what lies exactly at the radius.
            limits, _, hits = search.range_search(queries, CANDIDATE_RADIUS + 1)
            query = np.repeat(np.arange(len(queries)), np.diff(limits.astype(np.int64)).astype(np.int64))
            pairs = np.stack([start + query // len(members), hits], axis=1)
            of_parts.append((part, np.unique(pairs, axis=0)))
        return of_parts

    step = max(1, _HITS_AT_ONCE // (2 * len(others) * len(_WHOLES)))
    for of_parts in _in_turn(found, len(windows), step=step):
        for part, pairs in of_parts:
            for row, hit in pairs.tolist():
                mirrored, other = divmod(hit, len(others))
                if not (same and row == other):
                    yield row, other, part, bool(mirrored)


def _in_turn(
    work: Callable[[int, int], list[tuple[int, Pairs]]], rows: int, *, step: int
) -> Iterator[list[tuple[int, Pairs]]]:
    """What `work` finds from row to row, by a thread a core; in order.

    Args:
        step: rows at a time at first, as many as fit into memory at the worst; more where they have few hits.
    """
    cores, least, start = usable_cores(), step, 0
    running: deque[Future[list[tuple[int, Pairs]]]] = deque()
    with ThreadPoolExecutor(cores) as pool:
        while start < rows or running:
            if start < rows:
                running.append(pool.submit(work, start, min(start + step, rows)))
                start += step
            # More would be results that wait in memory.
            if len(running) > cores or start >= rows:
                found = running.popleft().result()
                few = 8 * sum(len(pairs) for _, pairs in found) < _HITS_AT_ONCE
                step = min(2 * step, max(least, _ROWS_AT_ONCE)) if few else least
                yield found


def _window_hashes(thumbnails: Thumbnails) -> npt.NDArray[np.uint8]:
    """The signs of the low frequencies of each window: uint8 [n, windows, 32].

    Signs in place of a comparison with the median: the hash of a mirror image is then an exclusive or.
    """
    chunks = []
    for start in range(0, len(thumbnails), _PICTURES_AT_ONCE):
        low = _window_frequencies(thumbnails[start : start + _PICTURES_AT_ONCE])
        low[..., 0, 0] = 0
        chunks.append(np.packbits((low > 0).reshape(*low.shape[:2], -1), axis=-1))
    return np.concatenate(chunks)


def _window_frequencies(thumbnails: Thumbnails) -> Reals:
    """The low frequencies of each window: float32 [n, windows, 16, 16]."""
    n, rows = len(thumbnails), thumbnails[:, ::2].astype(np.float32) + thumbnails[:, 1::2]
    small = (rows[:, :, ::2] + rows[:, :, 1::2]) / 4
    f, k = FREQUENCIES, len(_CROPS)
    # Matrix products of one shape a picture: the last bits must not depend on how many go together.
    narrow = _stacked(_BANDS, _SEARCHED_SIDE, f) @ small @ _stacked((_NONE,), _SEARCHED_SIDE, f).T
    cropped = _stacked(_CROPS, _SEARCHED_SIDE, f)
    crops = (cropped @ small @ cropped.T).reshape(n, k, f, k, f).transpose(0, 1, 3, 2, 4)
    return np.concatenate([narrow.reshape(n, len(_BANDS), f, f), crops.reshape(n, k * k, f, f)], axis=1)


@lru_cache
def _stacked(cuts: tuple[Cut, ...], side: int, frequencies: int) -> Reals:
    """From a side to the frequencies of what each cut leaves of it, below each other.

    Returns:
        float32 [frequencies * cuts, side].
    """
    rows = dct_rows(side, frequencies)
    return np.concatenate([rows @ _stretch(side, cut) for cut in cuts]).astype(np.float32)


def _transform(cut: Cut) -> Reals:
    """From a side of a thumbnail to the frequencies of what one cut leaves: float32 [32, 64]."""
    return _stacked((cut,), THUMBNAIL_SIDE, _VERIFIED_FREQUENCIES)


@lru_cache
def _bank(cut: Cut) -> Reals:
    """The transforms of the cuts around one: float32 [25, 32, 64]."""
    begin, end = cut
    return np.stack([_transform((begin + a, end + b)) for a in _FINE for b in _FINE])


def _stretch(samples: int, cut: Cut) -> npt.NDArray[np.float64]:
    """The matrix that stretches what a cut leaves of a side to the whole, by linear interpolation."""
    begin, end = cut
    places = samples * (begin + (np.arange(samples) + 0.5) / samples * (1 - begin - end)) - 0.5
    places = np.clip(places, 0, samples - 1)
    before = np.minimum(places.astype(int), samples - 2)
    matrix = np.zeros((samples, samples))
    matrix[np.arange(samples), before] = 1 - (places - before)
    matrix[np.arange(samples), before + 1] += places - before
    return matrix


def _spectrum(frequencies: npt.NDArray[Any]) -> Reals:
    """Frequencies [..., f, f] without the mean, over their usual size, at length 1 (or 0 where even)."""
    weighted = frequencies * _weights(frequencies.shape[-1])
    length = np.sqrt((weighted**2).sum(axis=(-2, -1), keepdims=True))
    return np.asarray(weighted / np.maximum(length, _EVEN), dtype=np.float32)


@lru_cache
def _weights(frequencies: int) -> Reals:
    """One over the usual size of each frequency; 0 for the mean."""
    index = np.arange(frequencies)
    return np.hypot(index[:, None], index).astype(np.float32)
