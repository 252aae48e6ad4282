"""Finds faces in pictures of any size: letter-boxed, batched, with sub-pixel boxes and landmarks.

Coordinates are continuous: a picture spans [0, width] x [0, height], and the centre of its first pixel is
(0.5, 0.5).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from selfai_pipeline.faces.anchors import CENTRE_VARIANCE, MEAN_BGR, SIZE_VARIANCE, STRIDES, anchors
from selfai_pipeline.faces.engines import DetectorFailed, Engine, Raw, load_engine
from selfai_pipeline.faces.settings import DetectorSettings

Pixels = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]

_GRAIN = 64
"""Coordinates are rounded to 1/64 pixel: engines differ in the last digits, and more would say nothing."""


@dataclass(frozen=True)
class Detection:
    """A face. Coordinates in pixels of the picture, as in the module's text; they may lie outside of it.

    Attributes:
        box: float64 [4]: left, top, right, bottom.
        landmarks: float64 [5, 2]: x, y of the eye at the left of the picture, the other eye, the nose, the
            mouth's corner at the left, the other corner.
        score: the detector's confidence, 0..1.
    """

    box: Points
    landmarks: Points
    score: float

    @property
    def area(self) -> float:
        left, top, right, bottom = self.box
        return float((right - left) * (bottom - top))

    @property
    def eye_distance(self) -> float:
        return float(np.linalg.norm(self.landmarks[1] - self.landmarks[0]))


@dataclass(frozen=True)
class Detector:
    """Finds faces with RetinaFace, in pictures of any size: letter-boxed, and batched by the box's size.

    Attributes:
        engine: runs the network.
        made_by: what `load` was given, so that another process can load the same.
    """

    engine: Engine
    made_by: tuple[DetectorSettings, str]

    @classmethod
    def load(cls, settings: DetectorSettings | None = None, device: str = "cpu") -> "Detector":
        """The detector of the settings; by default the published weights.

        Args:
            device: where torch computes (`cpu`, `cuda`, `mps`).

        Raises:
            MissingDetector, AlteredVersion, InputError: as `load_engine`.
        """
        plain = DetectorSettings(**(settings or DetectorSettings()).model_dump())
        return cls(load_engine(plain, device=device), (plain, device))

    def detect(
        self,
        pictures: Sequence[Pixels],
        *,
        side: int = 320,
        min_score: float = 0.8,
        max_overlap: float = 0.4,
        batch_size: int = 0,
    ) -> list[list[Detection]]:
        """The faces of each picture, largest first (of equal ones the higher score).

        A picture's faces do not depend on its neighbours.

        Args:
            pictures: uint8 [height, width, 3] RGB, of any sizes.
            side: longest side in pixels at which faces are looked for; smaller pictures are not enlarged.
            min_score: confidence from which a face counts.
            max_overlap: intersection over union from which two boxes are one face.
            batch_size: pictures that go through the network at once; 0: as the engine is fastest.

        Raises:
            DetectorFailed: the network's outputs are not finite.
        """
        at_once = batch_size or self.engine.batch_size
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index, picture in enumerate(pictures):
            groups[_boxed_size(picture, side=side, one_size=self.engine.one_size)].append(index)
        found: list[list[Detection]] = [[] for _ in pictures]
        for size, members in groups.items():
            for start in range(0, len(members), at_once):
                batch = members[start : start + at_once]
                boxed = np.stack([_letter_box(pictures[index], size=size, side=side) for index in batch])
                raw = self.engine.run(boxed, batch_size=at_once)
                if not all(np.isfinite(values).all() for values in raw):
                    raise DetectorFailed(
                        f"{self.engine.name}: the detector's outputs are not finite. Set detector.precision "
                        "to float32, or compute.device to cpu; if they stay so, the weights cannot be used."
                    )
                for place, index in enumerate(batch):
                    candidates = _candidates(raw, place, size=size, min_score=min_score)
                    kept = _suppress(*candidates, max_overlap=max_overlap)
                    found[index] = _in_picture(kept, pictures[index], side=side)
        return found


def _candidates(
    raw: Raw, place: int, *, size: tuple[int, int], min_score: float
) -> tuple[Points, Points, Points]:
    """Boxes [m, 4], landmarks [m, 10] and scores [m] of one picture of a batch, from `min_score` on."""
    chosen = np.flatnonzero(raw.scores[place] >= min_score)
    grid = anchors(*size)[chosen].astype(np.float64)
    centre, side = grid[:, :2], grid[:, 2:]
    offsets = raw.boxes[place, chosen].astype(np.float64)
    middle = centre + offsets[:, :2] * CENTRE_VARIANCE * side
    half = side * np.exp(offsets[:, 2:] * SIZE_VARIANCE) / 2
    points = raw.landmarks[place, chosen].astype(np.float64).reshape(-1, 5, 2) * CENTRE_VARIANCE
    points = points * side[:, None] + centre[:, None]
    return (
        np.concatenate([middle - half, middle + half], axis=1),
        points.reshape(-1, 10),
        raw.scores[place, chosen].astype(np.float64),
    )


def _scale(picture: Pixels, *, side: int) -> float:
    longest: int = max(picture.shape[:2])
    return min(1.0, side / longest)


def _boxed_size(picture: Pixels, *, side: int, one_size: bool) -> tuple[int, int]:
    """Height and width of the letter box, multiples of the coarsest stride: around the picture, or the one
    square that holds every picture of the look."""
    scale, step = _scale(picture, side=side), STRIDES[-1]
    height, width = (side if one_size else max(1, round(scale * length)) for length in picture.shape[:2])
    return -(-height // step) * step, -(-width // step) * step


def _letter_box(picture: Pixels, *, size: tuple[int, int], side: int) -> Pixels:
    """The picture, shrunk where it is larger than `side`, at the top left of a box in the network's mean
    colour."""
    scale = _scale(picture, side=side)
    if scale < 1:
        height, width = (max(1, round(length * scale)) for length in picture.shape[:2])
        # Of less than twice the size nothing is lost between pixels, and it takes a third of the time.
        way = cv2.INTER_LINEAR_EXACT if scale > 0.5 else cv2.INTER_AREA
        picture = np.asarray(cv2.resize(picture, (width, height), interpolation=way), dtype=np.uint8)
    below, beside = size[0] - picture.shape[0], size[1] - picture.shape[1]
    # Filling an array with a colour takes fifty times as long.
    boxed = cv2.copyMakeBorder(picture, 0, below, 0, beside, cv2.BORDER_CONSTANT, value=MEAN_BGR[::-1])
    return np.asarray(boxed, dtype=np.uint8)


def _in_picture(candidates: tuple[Points, Points, Points], picture: Pixels, *, side: int) -> list[Detection]:
    """Detections in the pixels of the picture, largest first. What has no extent there is no face."""
    scale = _scale(picture, side=side)
    # The sides are rounded to whole pixels when shrinking, each on its own.
    ratio = np.array([length / max(1, round(length * scale)) for length in picture.shape[1::-1]])
    boxes, landmarks, scores = candidates
    faces = [
        Detection(
            box=np.rint(box * np.tile(ratio, 2) * _GRAIN) / _GRAIN,
            landmarks=np.rint(points.reshape(5, 2) * ratio * _GRAIN) / _GRAIN,
            score=round(float(score), 5),
        )
        for box, points, score in zip(boxes, landmarks, scores, strict=True)
    ]
    seen = (face for face in faces if face.area > 0 and face.eye_distance > 0)
    return sorted(seen, key=lambda face: (-face.area, -face.score, *face.box))


def _suppress(
    boxes: Points, landmarks: Points, scores: Points, *, max_overlap: float
) -> tuple[Points, Points, Points]:
    """Greedy non-maximum suppression: of boxes that overlap, the one with the highest score stays.

    Its landmarks are the mean of all of theirs, each counting as much as its score. Which anchor is the
    surest changes with a shift by a pixel, and its landmarks with it, by up to 6 % of the distance of the
    eyes; their mean does not.
    """
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    waiting = np.argsort(-scores, kind="stable")
    kept, means = [], []
    while len(waiting):
        best = waiting[0]
        overlap = np.minimum(boxes[best, 2:], boxes[waiting, 2:]) - np.maximum(
            boxes[best, :2], boxes[waiting, :2]
        )
        shared = np.prod(np.maximum(overlap, 0), axis=1)
        is_same = shared > max_overlap * (areas[best] + areas[waiting] - shared)
        is_same[0] = True
        same, waiting = waiting[is_same], waiting[~is_same]
        kept.append(best)
        means.append(scores[same] @ landmarks[same] / scores[same].sum())
    return boxes[kept], np.array(means).reshape(-1, 10), scores[kept]
