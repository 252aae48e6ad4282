"""How sharp a face is in its crop."""

import cv2
import numpy as np

from selfai_pipeline.faces.alignment import Pixels, Points, placed
from selfai_pipeline.pictures.measures import blur_of

_MARGIN = 0.5
"""Eye distances by which the measured part reaches beyond the eyes and the mouth."""


def face_sharpness(
    pixels: Pixels, *, matrix: Points, target: Points, picture_size: tuple[int, int]
) -> float | None:
    """The variance of the Laplacian (see `blur_of`) between temples, brows and chin; high: sharp.

    A background out of focus says nothing of the face, and what lies outside the picture is repeated pixels:
    neither counts. None where nothing is left.

    Args:
        pixels: the crop, uint8 [side, side, 3] RGB.
        matrix: from the picture to the crop.
        target: the template, crop pixels.
        picture_size: height and width of the picture.
    """
    height, width = picture_size
    corners = placed(np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float64), matrix)
    mask = np.zeros(pixels.shape[:2], dtype=np.uint8)
    cv2.fillConvexPoly(mask, np.rint(corners - 0.5).astype(np.int32), 1)
    margin = _MARGIN * (target[1, 0] - target[0, 0])
    left, top = np.clip(np.rint(target.min(axis=0) - margin), 0, None).astype(int)
    right, bottom = np.rint(target.max(axis=0) + margin).astype(int)
    part = (slice(top, bottom), slice(left, right))
    if not mask[part].any():
        return None
    luma = np.asarray(cv2.cvtColor(pixels[part], cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    return blur_of(luma, np.ascontiguousarray(mask[part]))
