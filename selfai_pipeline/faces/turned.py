"""Faces in pictures that lie on their side or upside down: a second look where nothing is found upright."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from selfai_pipeline.faces.alignment import Points
from selfai_pipeline.faces.detector import Detection, Detector
from selfai_pipeline.faces.opened import Opened
from selfai_pipeline.faces.settings import FaceSettings

_QUARTERS = (2, 1, 3)
"""Upside down first, then either side: numbers of quarter turns against the clock."""


def turned_looks(
    pictures: Sequence[Opened], *, detector: Detector, settings: FaceSettings
) -> list[list[Detection]]:
    """The faces of pictures that show none upright, in pixels of the whole.

    Each is looked at upside down and on either side, at the first look's size, until there is a face. Its
    first landmark stays the eye at the left of the upright face.
    """
    faces: list[list[Detection]] = [[] for _ in pictures]
    for quarters in _QUARTERS if settings.turned_looks else ():
        empty = [index for index, of_picture in enumerate(faces) if not of_picture]
        pixels = [one for one in (pictures[index].pixels for index in empty) if one is not None]
        seen = detector.detect(
            [np.ascontiguousarray(np.rot90(one, quarters)) for one in pixels],
            side=settings.detection_side,
            min_score=settings.min_detection_score,
            batch_size=settings.batch_size,
        )
        for index, one, of_picture in zip(empty, pixels, seen, strict=True):
            height, width = one.shape[:2]
            faces[index] = [
                pictures[index].in_whole(_turned_back(face, quarters=quarters, height=height, width=width))
                for face in of_picture
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
