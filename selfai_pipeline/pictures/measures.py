"""What is measured about a picture, and the small luma that its hashes are made from."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Luma = npt.NDArray[np.uint8]

MEASURED_SIDE = 256
"""Longest side in pixels at which the luma is measured, so that values mean the same at every resolution."""

THUMBNAIL_SIDE = 64
"""Rows and columns of the thumbnail that near-duplicates are verified on."""

MEASURES = "3"
"""Raise it with every change to a value that is measured here, to the decoding, or to the hash: values of
another version are not taken over."""

_SATURATION_SIDE = 128
_EVEN, _STEP = 12, 24
"""Levels of 255 within which a line of a border lies, as JPEG blurs it, and by which a picture departs."""

_LEAST_STRAIGHT = 0.5
_FLAT, _EDGE, _SEAM = 2, 24, 12
_INTERIOR = 0.1


@dataclass(frozen=True)
class Measures:
    """Quality of one picture; units and ranges as in the table `pruned_set`."""

    brightness: float
    contrast: float
    blur: float
    entropy: float
    saturation: float
    border: float
    screenshot: float
    collage: float


def shrink(pixels: Pixels, *, side: int) -> Pixels:
    """`pixels` with a longest side of at most `side`, averaged over areas; smaller pictures stay as they
    are."""
    size = _shrunk_size(pixels, side=side)
    if size is None:
        return pixels
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def measured_luma(pixels: Pixels) -> Luma:
    """The luma (ITU-R BT.601) of a picture, uint8 RGB, with a longest side of at most `MEASURED_SIDE`.

    A picture of less than twice that side, as `decode_shrunk` gives it, is interpolated linearly: a sixth of
    the time of averaging over areas, and no pixel is left out.
    """
    luma = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    size = _shrunk_size(luma, side=MEASURED_SIDE)
    if size is None:
        return luma
    twice = max(luma.shape) >= 2 * MEASURED_SIDE
    way = cv2.INTER_AREA if twice else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(luma, size, interpolation=way), dtype=np.uint8)


def thumbnail_of(luma: Luma) -> Luma:
    """The luma at `THUMBNAIL_SIDE` rows and columns, whatever its aspect."""
    side = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    return np.asarray(cv2.resize(luma, side, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def measure(pixels: Pixels, luma: Luma) -> Measures:
    """Measure a picture.

    For `blur` see `blur_of`. `border` is the share of the picture outside of `inside_borders`; for the hints
    see `screenshot_of` and `collage_of`.

    Args:
        pixels: uint8 [height, width, 3] RGB, as `decode_shrunk` gives it.
        luma: its `measured_luma`.
    """
    mean, deviation = cv2.meanStdDev(luma)
    share = np.asarray(cv2.calcHist([luma], [0], None, [256], [0, 256])).ravel() / luma.size
    share = share[share > 0].astype(np.float64)
    inner = inside_borders(luma)
    # Borders are even and end at straight edges themselves.
    across, down = _steps(inner)
    return Measures(
        brightness=float(mean[0, 0]),
        contrast=float(deviation[0, 0]),
        blur=blur_of(luma),
        entropy=float(abs(-(share * np.log2(share)).sum())),
        saturation=_saturation(pixels),
        border=1 - inner.size / luma.size,
        screenshot=screenshot_of(across, down),
        collage=collage_of(across, down),
    )


def blur_of(luma: Luma, mask: Luma | None = None) -> float:
    """The variance of the luma's Laplacian (Pech-Pacheco et al., "Diatom autofocusing in brightfield
    microscopy", ICPR 2000): low where edges are soft.

    Args:
        mask: of the luma's shape; pixels count where it is not 0. None: all.
    """
    _, edges = cv2.meanStdDev(cv2.Laplacian(luma, cv2.CV_16S), mask=mask)
    return float(edges[0, 0] ** 2)


def _saturation(pixels: Pixels) -> float:
    """Mean saturation (HSV), 0..255, of pixels spread evenly over the picture."""
    size = _shrunk_size(pixels, side=_SATURATION_SIDE)
    if size is not None:
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
    return float(cv2.mean(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV))[1])


def inside_borders(luma: Luma) -> Luma:
    """The part of a picture inside of even bars at its edges: letter-boxing, frames.

    From each edge, lines count as long as they are even and of the first line's luma. The bar has to end at
    a straight edge: within two lines the picture departs from it over half of its length or more. A plain
    backdrop ends at the tip of a head and is no bar. Of a picture that is even throughout nothing is left.
    """
    top, bottom = _bar(luma), _bar(luma[::-1])
    rows = luma[top : len(luma) - bottom]
    if not len(rows):
        return luma[:0]
    columns = np.ascontiguousarray(rows.T)
    left, right = _bar(columns), _bar(columns[::-1])
    return np.ascontiguousarray(rows[:, left : luma.shape[1] - right])


def _bar(lines: Luma) -> int:
    """How many of the first lines are one even bar that ends at a straight edge."""
    if int(lines[0].max()) - int(lines[0].min()) > _EVEN:
        return 0
    level = int(np.sort(lines[0])[lines.shape[1] // 2])
    lowest, highest = max(0, level - _EVEN), min(255, level + _EVEN)
    uneven = ((lines < lowest) | (lines > highest)).any(axis=1)
    if not uneven.any():
        return len(lines)
    length = int(np.argmax(uneven))
    behind = lines[length : length + 3].astype(int)
    departs = (np.abs(behind - level) > _STEP).mean(axis=1).max()
    return length if departs >= _LEAST_STRAIGHT else 0


def screenshot_of(across: Luma, down: Luma) -> float:
    """How much a picture looks drawn by a computer, 0..1: the product of two shares.

    One is that of pixels that equal their neighbours, the other that of edges which run exactly along an
    axis. (After the two measures of Athitsos, Swain and Frankel, "Distinguishing photographs and graphics on
    the World Wide Web", CBAIVL 1997, that survive JPEG best: areas of one colour, and sharp transitions.)

    Args:
        across, down: absolute differences of neighbours in a row, [h, w - 1], and in a column, [h - 1, w].
    """
    across, down = across[:-1], down[:, :-1]
    if not across.size:
        return 0.0
    larger, smaller = np.maximum(across, down), np.minimum(across, down)
    flat = int(np.count_nonzero(larger <= _FLAT)) / larger.size
    edges = larger >= _EDGE
    straight = int(np.count_nonzero(edges & (smaller <= _FLAT)))
    return flat * straight / max(1, int(np.count_nonzero(edges)))


def collage_of(across: Luma, down: Luma) -> float:
    """How far a single straight seam runs through the picture, 0..1: the share of its whole length.

    Pictures laid side by side differ along nearly all of the line between them. So do a horizon and the edge
    of a door: a hint, no proof.

    Args:
        across, down: as for `screenshot_of`.
    """
    return max(_longest_seam(across), _longest_seam(down.T))


def _steps(luma: Luma) -> tuple[Luma, Luma]:
    """Absolute differences of neighbours in a row and in a column; none where there are no two of each."""
    if min(luma.shape) < 2:
        return luma[:0, :0], luma[:0, :0]
    across, down = cv2.absdiff(luma[:, 1:], luma[:, :-1]), cv2.absdiff(luma[1:], luma[:-1])
    return np.asarray(across, dtype=np.uint8), np.asarray(down, dtype=np.uint8)


def _longest_seam(steps: Luma) -> float:
    """The largest share of a column that is a step, of the columns away from the edges."""
    margin = int(np.ceil(_INTERIOR * (steps.shape[1] + 1)))
    inner = steps[:, margin : steps.shape[1] - margin]
    if not inner.size:
        return 0.0
    stepping = (inner >= _SEAM).astype(np.uint8)
    return float(np.asarray(cv2.reduce(stepping, 0, cv2.REDUCE_AVG, dtype=cv2.CV_32F)).max())


def _shrunk_size(pixels: npt.NDArray[np.uint8], *, side: int) -> tuple[int, int] | None:
    """Width and height at which the longer side is `side`; None where it is no longer than that."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    return None if scale >= 1 else (max(1, round(width * scale)), max(1, round(height * scale)))
