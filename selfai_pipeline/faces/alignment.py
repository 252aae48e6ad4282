"""Alignment of a face by five points: a least-squares similarity to one template, and the crop it cuts.

Coordinates are continuous: a picture spans [0, width] x [0, height], and the centre of its first pixel is
(0.5, 0.5).
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]
_Polygon = list[tuple[float, float]]

_FRONTAL_FACE = np.array(
    [
        [192.98138, 239.94708],
        [318.90277, 240.1936],
        [256.63416, 314.01935],
        [201.26117, 371.41043],
        [313.08905, 371.15118],
    ]
)
"""Mean positions of eyes, nose and mouth corners in the pictures of FFHQ (Karras et al., "A style-based
generator architecture for generative adversarial networks", CVPR 2019), at 512 pixels, as facexlib has them.
Of the usual templates it is the one whose proportions RetinaFace's landmarks have: the other, InsightFace's,
leaves the eyes half as far again from their places."""

_SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
_WEIGHTS = np.array([2.0, 2.0, 1.0, 1.0, 1.0])
"""Of the landmarks in the fit: eyes count double. A mouth moves with what a face does, and with its chin."""


@dataclass(frozen=True)
class Alignment:
    """How one face is laid onto the template.

    Attributes:
        matrix: float64 [2, 3], a similarity from the picture's coordinates to the crop's.
        residual: RMS distance of the five landmarks to the template, crop pixels.
        roll: degrees by which the face was turned in the picture, clockwise as one sees it; alignment
            removed it.
        border: share of the crop that lies outside the picture, 0..1.
    """

    matrix: Points
    residual: float
    roll: float
    border: float


def template(*, crop_size: int, eye_distance: float, eye_height: float) -> Points:
    """Where the five landmarks shall lie, crop pixels, float64 [5, 2]: mirror-symmetric, eyes level.

    Args:
        crop_size: side of the crop in pixels.
        eye_distance: distance of the eyes over the crop's side.
        eye_height: how far down the crop the eyes lie, over its side.
    """
    mirrored = _FRONTAL_FACE[[1, 0, 2, 4, 3]] * [-1, 1]
    centred = _FRONTAL_FACE - _FRONTAL_FACE[:2].mean(axis=0)
    symmetric = (centred + mirrored - mirrored[:2].mean(axis=0)) / 2
    unit = symmetric / (symmetric[1, 0] - symmetric[0, 0])
    return np.asarray((unit * eye_distance + [0.5, eye_height]) * crop_size)


def similarity(points: Points, target: Points, weights: Points | None = None) -> Points:
    """The rotation, scale and shift, float64 [2, 3], that bring `points` [n, 2] nearest to `target` [n, 2].

    Least squares without reflection (Umeyama, "Least-squares estimation of transformation parameters
    between two point patterns", PAMI 1991), in the closed form that it has in the plane.

    Args:
        weights: of the points, [n]; None: all alike.

    Raises:
        ValueError: all points are one.
    """
    shares = np.full(len(points), 1 / len(points)) if weights is None else weights / weights.sum()
    centre, target_centre = shares @ points, shares @ target
    x, y = (points - centre).T
    u, v = (target - target_centre).T
    spread = shares @ (x * x + y * y)
    if not spread > 0:
        raise ValueError("a similarity needs two different points")
    cosine = shares @ (x * u + y * v) / spread
    sine = shares @ (x * v - y * u) / spread
    turn = np.array([[cosine, -sine], [sine, cosine]])
    return np.column_stack([turn, target_centre - turn @ centre])


def fit(landmarks: Points, target: Points) -> Points:
    """The similarity, float64 [2, 3], that lays a face's `landmarks` [5, 2] onto a template; eyes count
    double."""
    return similarity(landmarks, target, _WEIGHTS)


def placed(points: Points, matrix: Points) -> Points:
    """`points` [n, 2] where `matrix` [2, 3] puts them."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2])


def placed_back(points: Points, matrix: Points) -> Points:
    """The points [n, 2] that `matrix` [2, 3] puts at `points`."""
    return np.asarray(np.linalg.solve(matrix[:, :2], (points - matrix[:, 2]).T).T, dtype=np.float64)


def align(landmarks: Points, target: Points, *, picture_size: tuple[int, int], crop_size: int) -> Alignment:
    """Fit `landmarks` [5, 2] of a picture of (height, width) `picture_size` to the template `target` [5,
    2]."""
    matrix = fit(landmarks, target)
    return Alignment(
        matrix=matrix,
        residual=rms(placed(landmarks, matrix), target),
        roll=math.degrees(math.atan2(-matrix[1, 0], matrix[0, 0])),
        border=_outside(matrix, picture_size=picture_size, crop_size=crop_size),
    )


def rms(points: Points, others: Points) -> float:
    """The root of the mean squared distance between `points` and `others`, [n, 2] each."""
    return float(np.sqrt(((points - others) ** 2).sum(axis=1).mean()))


def crop(picture: Pixels, matrix: Points, *, crop_size: int) -> Pixels:
    """Cut an aligned crop, uint8 [crop_size, crop_size, 3].

    What lies outside the picture repeats its nearest edge pixel: the one padding rule. Where the picture
    is larger than the crop shows it, it is first averaged over areas, so that fine patterns do not alias.
    """
    scale = math.hypot(matrix[0, 0], matrix[1, 0])
    if scale < 1:
        picture, matrix = _shrunk_region(picture, matrix, scale=scale, crop_size=crop_size)
    # OpenCV counts from the centre of the first pixel.
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
    return np.asarray(
        cv2.warpAffine(
            picture,
            shifted,
            (crop_size, crop_size),
            flags=cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        dtype=np.uint8,
    )


def _corners_in_picture(matrix: Points, *, crop_size: int) -> Points:
    return placed_back(_SQUARE * float(crop_size), matrix)


def _outside(matrix: Points, *, picture_size: tuple[int, int], crop_size: int) -> float:
    """Share of the crop's area outside the picture.

    OpenCV's `intersectConvexConvex` finds no intersection where two corners nearly coincide.
    """
    corners = _corners_in_picture(matrix, crop_size=crop_size)
    if np.all(corners >= 0) and np.all(corners <= picture_size[::-1]):
        return 0.0
    inside = whole = [(float(x), float(y)) for x, y in corners]
    for axis, length in ((0, picture_size[1]), (1, picture_size[0])):
        inside = _clipped(inside, [corner[axis] for corner in inside])
        inside = _clipped(inside, [length - corner[axis] for corner in inside])
    # Rounded, so that a crop that lies inside to the last bit but one has none.
    return round(min(1.0, max(0.0, 1 - _area(inside) / _area(whole))), 9)


def _clipped(polygon: _Polygon, depths: list[float]) -> _Polygon:
    """The part of a polygon whose corners lie at `depths` behind a line, as far as that is 0 or more.

    One step of Sutherland and Hodgman, "Reentrant polygon clipping", CACM 1974. In plain numbers, which for
    so few take a tenth of the time of arrays.
    """
    kept = []
    for place, ((x, y), depth) in enumerate(zip(polygon, depths, strict=True)):
        (x_before, y_before), depth_before = polygon[place - 1], depths[place - 1]
        if (depth < 0) != (depth_before < 0):
            part = depth_before / (depth_before - depth)
            kept.append((x_before + (x - x_before) * part, y_before + (y - y_before) * part))
        if depth >= 0:
            kept.append((x, y))
    return kept


def _area(polygon: _Polygon) -> float:
    before = [*polygon[-1:], *polygon[:-1]]
    pairs = zip(polygon, before, strict=True)
    return abs(sum(x * y_before - y * x_before for (x, y), (x_before, y_before) in pairs)) / 2


def _shrunk_region(picture: Pixels, matrix: Points, *, scale: float, crop_size: int) -> tuple[Pixels, Points]:
    """The part of the picture under the crop, shrunk by about `scale`, and the matrix from it to the crop."""
    height, width = picture.shape[:2]
    corners = _corners_in_picture(matrix, crop_size=crop_size)
    margin = 4 / scale
    left, top = np.floor(np.clip(corners.min(axis=0) - margin, 0, [width - 1, height - 1])).astype(int)
    right, bottom = np.ceil(
        np.clip(corners.max(axis=0) + margin, [left + 1, top + 1], [width, height])
    ).astype(int)
    region = picture[top:bottom, left:right]
    size = [max(1, round(length * scale)) for length in (right - left, bottom - top)]
    small = np.asarray(cv2.resize(region, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    enlarge = np.array([(right - left) / size[0], (bottom - top) / size[1]])
    moved = np.column_stack([matrix[:, :2] * enlarge, matrix[:, 2] + matrix[:, :2] @ [left, top]])
    return small, moved
