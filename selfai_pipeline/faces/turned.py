"""Faces in pictures that lie on their side or upside down: a second look where nothing is found upright."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from selfai_pipeline.faces.alignment import Points
from selfai_pipeline.faces.detector import Detection, Detector, Pixels
from selfai_pipeline.faces.settings import FaceSettings

_QUARTERS = (2, 1, 3)
"""Upside down first, then either side: numbers of quarter turns against the clock."""


def with_turned_looks(
    pictures: Sequence[Pixels],
    found: Sequence[list[Detection]],
    *,
    detector: Detector,
    settings: FaceSettings,
) -> list[list[Detection]]:
    """`found`, and for pictures in which there is nothing the faces that show when they are turned.

    Each such picture is looked at upside down and on either side, at the first look's size, until there is
    a face. Its coordinates are those of the picture as it was given; its first landmark stays the eye at
    the left of the upright face.

    Args:
        pictures: uint8 [height, width, 3] RGB.
        found: the faces of each picture.
    """
    faces = list(found)
    for quarters in _QUARTERS if settings.turned_looks else ():
        empty = [index for index, of_picture in enumerate(faces) if not of_picture]
        seen = detector.detect(
            [np.ascontiguousarray(np.rot90(pictures[index], quarters)) for index in empty],
            side=settings.detection_side,
            min_score=settings.min_detection_score,
            batch_size=settings.batch_size,
        )
        for index, of_picture in zip(empty, seen, strict=True):
            height, width = pictures[index].shape[:2]
            faces[index] = [
                _turned_back(face, quarters=quarters, height=height, width=width) for face in of_picture
            ]
    return faces


def _turned_back(face: Detection, *, quarters: int, height: int, width: int) -> Detection:
    """A face of a picture that was turned, in the picture of `height` and `width` as it was before."""

    def back(points: Points) -> Points:
        x, y = points.T
        return np.column_stack(
            {1: (width - y, x), 2: (width - x, height - y), 3: (y, height - x)}[quarters],
        )

    corners = back(face.box.reshape(2, 2))
    box = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
    return replace(face, box=box, landmarks=back(face.landmarks))
