"""Finds faces in pictures of any size: letter-boxed, batched, with sub-pixel boxes and landmarks.

Coordinates are continuous: a picture spans [0, width] x [0, height], and the centre of its first pixel is
(0.5, 0.5).
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
import torch

from selfai_pipeline.errors import InputError
from selfai_pipeline.faces.retinaface import MEAN_BGR, STRIDES, RetinaFace, anchors, load_retinaface

Pixels = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]

_CENTRE_VARIANCE, _SIZE_VARIANCE = 0.1, 0.2
_GRAIN = 64
"""Coordinates are rounded to 1/64 pixel: sums of a convolution differ in the last bits between batch
sizes, and a picture's row must not depend on its neighbours."""


@dataclass(frozen=True)
class Detection:
    """A face. Coordinates in pixels of the picture, as in the module's text; they may lie outside of it.

    Attributes:
        box: float64 [4]: left, top, right, bottom.
        landmarks: float64 [5, 2]: x, y of the eye at the left of the picture, the other eye, the nose, the
            mouth's
            corner at the left, the other corner.
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
    """RetinaFace on one device; pictures of one letter-boxed size share a batch."""

    network: RetinaFace
    device: torch.device
    threads: int

    @classmethod
    def load(cls, *, device: str = "cpu", threads: int = 1) -> "Detector":
        """The detector with the published weights.

        Args:
            device: as torch names it (`cpu`, `cuda`).
            threads: CPU threads while it detects; one a process is best where several processes work.

        Raises:
            MissingDetector: the package that carries the weights is not installed.
            InputError: the device is not there.
        """
        place = torch.device(device)
        if place.type == "cuda" and not torch.cuda.is_available():
            raise InputError(
                "no cuda device was found on this machine",
                where="detector.device",
                mend="Set it to cpu, or run where the device is.",
            )
        network = load_retinaface().to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return cls(network, place, threads)

    def detect(
        self,
        pictures: list[Pixels],
        *,
        side: int = 320,
        min_score: float = 0.8,
        max_overlap: float = 0.4,
        batch_size: int = 8,
    ) -> list[list[Detection]]:
        """The faces of each picture, largest first (of equal ones the higher score).

        Args:
            pictures: uint8 [height, width, 3] RGB, of any sizes.
            side: longest side in pixels at which faces are looked for; smaller pictures are not enlarged.
            min_score: confidence from which a face counts.
            max_overlap: intersection over union from which two boxes are one face.
            batch_size: pictures that go through the network at once.
        """
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index, picture in enumerate(pictures):
            groups[_boxed_size(picture, side=side)].append(index)
        found: list[list[Detection]] = [[] for _ in pictures]
        with _threads(self.threads), torch.inference_mode():
            for size, members in groups.items():
                for start in range(0, len(members), batch_size):
                    batch = members[start : start + batch_size]
                    boxed = [_letter_box(pictures[index], size=size, side=side) for index in batch]
                    faces = self._detect_batch(np.stack(boxed), min_score=min_score, max_overlap=max_overlap)
                    for index, candidates in zip(batch, faces, strict=True):
                        found[index] = _in_picture(candidates, pictures[index], side=side)
        return found

    def _detect_batch(
        self, boxed: Pixels, *, min_score: float, max_overlap: float
    ) -> Iterator[tuple[Points, Points, Points]]:
        """Boxes [m, 4], landmarks [m, 10] and scores [m] of each picture of uint8 [n, h, w, 3] RGB."""
        values = torch.from_numpy(boxed).to(self.device).permute(0, 3, 1, 2).flip(1).float()
        values -= torch.tensor(MEAN_BGR, device=self.device)[:, None, None]
        boxes, scores, landmarks = self.network(values.contiguous(memory_format=torch.channels_last))
        grid = _anchors_on(self.device, boxed.shape[1], boxed.shape[2])
        for picture in range(len(boxed)):
            score = scores[picture, :, 1]
            chosen = torch.nonzero(score >= min_score)[:, 0]
            centre, size = grid[chosen, :2], grid[chosen, 2:]
            offsets = boxes[picture, chosen]
            middle = centre + offsets[:, :2] * _CENTRE_VARIANCE * size
            half = size * torch.exp(offsets[:, 2:] * _SIZE_VARIANCE) / 2
            points = landmarks[picture, chosen].reshape(-1, 5, 2) * _CENTRE_VARIANCE * size[:, None]
            points = (points + centre[:, None]).reshape(-1, 10)
            yield _suppress(
                # Apple's GPU has no doubles.
                torch.cat([middle - half, middle + half], dim=1).cpu().double().numpy(),
                points.cpu().double().numpy(),
                score[chosen].cpu().double().numpy(),
                max_overlap=max_overlap,
            )


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@lru_cache(maxsize=64)
def _anchors_on(device: torch.device, height: int, width: int) -> torch.Tensor:
    return anchors(height, width).to(device)


def _scale(picture: Pixels, *, side: int) -> float:
    longest: int = max(picture.shape[:2])
    return min(1.0, side / longest)


def _boxed_size(picture: Pixels, *, side: int) -> tuple[int, int]:
    """Height and width of the letter box: multiples of the coarsest stride, so that few sizes occur."""
    scale, step = _scale(picture, side=side), STRIDES[-1]
    height, width = (max(1, round(length * scale)) for length in picture.shape[:2])
    return -(-height // step) * step, -(-width // step) * step


def _letter_box(picture: Pixels, *, size: tuple[int, int], side: int) -> Pixels:
    """The picture, shrunk where it is larger than `side`, at the top left of a box in the network's mean
    colour."""
    scale = _scale(picture, side=side)
    if scale < 1:
        height, width = (max(1, round(length * scale)) for length in picture.shape[:2])
        picture = np.asarray(
            cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8
        )
    box = np.empty((*size, 3), dtype=np.uint8)
    box[:] = np.array(MEAN_BGR[::-1], dtype=np.uint8)
    box[: picture.shape[0], : picture.shape[1]] = picture
    return box


def _in_picture(candidates: tuple[Points, Points, Points], picture: Pixels, *, side: int) -> list[Detection]:
    """Detections in the pixels of the picture, largest first."""
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
    return sorted(faces, key=lambda face: (-face.area, -face.score, *face.box))


def _suppress(
    boxes: Points, landmarks: Points, scores: Points, *, max_overlap: float
) -> tuple[Points, Points, Points]:
    """Greedy non-maximum suppression: of boxes that overlap, the one with the highest score stays."""
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    waiting = np.argsort(-scores, kind="stable")
    kept = []
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        kept.append(best)
        overlap = np.minimum(boxes[best, 2:], boxes[waiting, 2:]) - np.maximum(
            boxes[best, :2], boxes[waiting, :2]
        )
        shared = np.prod(np.maximum(overlap, 0), axis=1)
        waiting = waiting[shared <= max_overlap * (areas[best] + areas[waiting] - shared)]
    return boxes[kept], landmarks[kept], scores[kept]
