"""A closer look at each face, upright and at one size: its landmarks then do not depend on how it lay.

A detector finds the eyes of a leaning face some degrees off, and those of one that is upside down in the
middle of the cheeks. So the face is cut out by the landmarks that are known, turned upright and brought to
one size, and its landmarks are looked for again in there; from pass to pass less is left of where and how the
face lay in the picture.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from selfai_pipeline.faces.alignment import Pixels, Points, fit, placed, placed_back, rms, template
from selfai_pipeline.faces.detector import Detection, Detector
from selfai_pipeline.faces.opened import Opened
from selfai_pipeline.faces.settings import FaceSettings

_SIDE = 128
_EYE_DISTANCE, _EYE_HEIGHT = 0.33, 0.42
"""Of the cut-out: pixels of its side, and where the eyes lie over it. Chosen by how little eyes move when
portraits are turned, and by how near they are to where they were drawn, at the least cost."""

_LEAST_SCORE = 0.3
_SURE_SCORE, _SURE_RESIDUAL, _SURE_ROLL, _SURE_TURN = 0.9, 0.14, 10.0, 60.0
"""A face is taken to be upright in its cut-out from this score on, with landmarks within so many eye
distances (RMS) of the template and so many degrees, where the first look saw it turned by no more than the
last."""

_BOX_SIDE, _BELOW_MIDDLE = 2.55, 0.25
"""Of a detector's box, in eye distances: the root of its area, and how far below its middle the landmarks'
mean lies. Within 5 % for nine of ten faces, rendered and photographed alike."""

_GRAIN = 64
"""Coordinates are rounded to 1/64 pixel, as the detector's are."""

_QUARTER = np.array([[0.0, -1.0], [1.0, 0.0]])


@dataclass(frozen=True)
class _Seen:
    """What a cut-out showed.

    Attributes:
        landmarks: float64 [5, 2], in the picture.
        score: how sure the detector is.
        residual: RMS of the landmarks to the template, over the distance of its eyes.
        roll: degrees by which the face leans in the cut-out.
    """

    landmarks: Points
    score: float
    residual: float
    roll: float

    @property
    def is_upright(self) -> bool:
        return self.score >= _SURE_SCORE and self.residual <= _SURE_RESIDUAL and abs(self.roll) <= _SURE_ROLL


def refined(
    pictures: Sequence[Opened],
    faces: Sequence[Detection],
    *,
    detector: Detector,
    settings: FaceSettings,
    side_by_side: Callable[..., Iterator[Any]] = map,
) -> list[Detection]:
    """Each face with the landmarks that a closer look shows; one that it does not show stays as it is.

    Where it is in doubt which way is up, the face's box is cut out from all four sides, and the one counts
    from which the detector is surest of the face.

    Args:
        pictures: of each face its picture.
        faces: as found, in pixels of the whole picture; box and score stay as they are.
        side_by_side: `map`, or one in threads, for what is done on the processor.
    """
    passes = settings.refining_passes
    if not passes or not faces:
        return list(faces)

    def look(chosen: Sequence[int], known: Sequence[Points], *, passes: int) -> list[_Seen | None]:
        seen: list[_Seen | None] = [None] * len(chosen)
        for _ in range(passes):
            seen = _look(
                [pictures[index] for index in chosen],
                known,
                detector=detector,
                batch_size=settings.batch_size,
                side_by_side=side_by_side,
            )
            known = [one.landmarks if one else before for one, before in zip(seen, known, strict=True)]
        return seen

    best = look(range(len(faces)), [face.landmarks for face in faces], passes=passes)
    doubtful = [
        index
        for index, (face, seen) in enumerate(zip(faces, best, strict=True))
        if settings.turned_looks
        and (seen is None or not seen.is_upright or abs(_roll(face.landmarks)) > _SURE_TURN)
    ]
    for quarters in range(4) if doubtful else ():
        lying = [_average_face(faces[index].box, quarters=quarters) for index in doubtful]
        # Two passes more: an average face is further from the mark.
        for index, seen in zip(doubtful, look(doubtful, lying, passes=passes + 2), strict=True):
            before = best[index]
            if seen and (before is None or seen.score > before.score):
                best[index] = seen
    return [_closer(face, seen) for face, seen in zip(faces, best, strict=True)]


def _look(
    pictures: Sequence[Opened],
    landmarks: Sequence[Points],
    *,
    detector: Detector,
    batch_size: int,
    side_by_side: Callable[..., Iterator[Any]],
) -> list[_Seen | None]:
    """Look for each face in the cut-out that its `landmarks` [5, 2] make."""
    target = _target()
    matrices = [fit(points, target) for points in landmarks]
    found = detector.detect(
        list(side_by_side(_cut_out, pictures, matrices)),
        side=_SIDE,
        min_score=_LEAST_SCORE,
        batch_size=batch_size,
    )
    return [_seen(faces, matrix) for faces, matrix in zip(found, matrices, strict=True)]


def _closer(face: Detection, seen: _Seen | None) -> Detection:
    """The face with the landmarks that were seen, where there are any that are not one point."""
    if seen is None:
        return face
    closer = replace(face, landmarks=np.rint(seen.landmarks * _GRAIN) / _GRAIN)
    return closer if closer.eye_distance > 0 else face


def _cut_out(picture: Opened, matrix: Points) -> Pixels:
    return picture.crop(matrix, crop_size=_SIDE)


def _seen(faces: Sequence[Detection], matrix: Points) -> _Seen | None:
    """The face in the middle of a cut-out that `matrix` made; None where there is none."""
    target, unit = _target(), _SIDE * _EYE_DISTANCE

    def distance(face: Detection) -> float:
        return float(np.linalg.norm(face.landmarks.mean(axis=0) - target.mean(axis=0)))

    face = min(faces, key=distance, default=None)
    if face is None or distance(face) > unit:
        return None
    matrix_on = fit(face.landmarks, target)
    return _Seen(
        landmarks=placed_back(face.landmarks, matrix),
        score=face.score,
        residual=rms(placed(face.landmarks, matrix_on), target) / unit,
        roll=math.degrees(math.atan2(-matrix_on[1, 0], matrix_on[0, 0])),
    )


def _average_face(box: Points, *, quarters: int) -> Points:
    """The landmarks [5, 2] of an average face that fills a box and is turned clockwise by quarter turns."""
    corners = box.reshape(2, 2)
    unit = math.sqrt(np.prod(corners[1] - corners[0])) / _BOX_SIDE
    target = _target()
    upright = (target - target.mean(axis=0)) / (_SIDE * _EYE_DISTANCE) + [0, _BELOW_MIDDLE]
    turn = np.linalg.matrix_power(_QUARTER, quarters)
    return np.asarray(corners.mean(axis=0) + unit * upright @ turn.T)


def _roll(landmarks: Points) -> float:
    matrix = fit(landmarks, _target())
    return math.degrees(math.atan2(-matrix[1, 0], matrix[0, 0]))


@lru_cache
def _target() -> Points:
    return template(crop_size=_SIDE, eye_distance=_EYE_DISTANCE, eye_height=_EYE_HEIGHT)
