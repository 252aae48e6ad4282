"""A drawn face and rendered portraits, so that no photograph is needed, and the detector, loaded once."""

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from selfai_pipeline.faces.alignment import Points, fit, placed, template
from selfai_pipeline.faces.detector import Detection, Detector
from selfai_pipeline.faces.finding import find_faces
from selfai_pipeline.faces.opened import Opened
from selfai_pipeline.faces.refining import refined
from selfai_pipeline.faces.settings import FaceSettings
from selfai_pipeline.pictures.decoding import Shrunk
from selfai_pipeline.sources.gallery.attributes import draw_portrait_attributes
from selfai_pipeline.sources.gallery.portraits import Rendered, render_portrait

Pixels = npt.NDArray[np.uint8]


def drawn_face(*, size: int = 256, shade: float = 1.0) -> Pixels:
    """A frontal face that fills about half of a square picture; `shade` below 1 darkens the skin."""
    k = size / 256
    grid = np.linspace(-1, 1, size)
    light = 1 - 0.25 * (grid[None, :] ** 2 + (grid[:, None] + 0.2) ** 2)
    skin = np.array([228, 182, 150]) * shade

    def at(x: float, y: float) -> tuple[int, int]:
        return round(x * k), round(y * k)

    def ellipse(x: float, y: float, a: float, b: float, colour: object, angle: float = 0) -> None:
        cv2.ellipse(canvas, at(x, y), at(a, b), angle, 0, 360, colour, -1, cv2.LINE_AA)

    canvas = np.full((size, size, 3), (150, 170, 190), dtype=np.uint8)
    hair, dark, rose = (50, 34, 26), (40, 28, 24), (178, 84, 84)
    ellipse(128, 112, 66, 80, hair)
    cv2.rectangle(canvas, at(104, 180), at(152, 256), (skin * 0.82).tolist(), -1)
    ellipse(128, 132, 54, 72, skin.tolist())
    ellipse(128, 74, 50, 20, hair)
    for side in (-1, 1):
        ellipse(128 + 23 * side, 106, 13, 3, dark, 4.0 * side)
        ellipse(128 + 23 * side, 120, 11, 6, (245, 245, 245))
        ellipse(128 + 23 * side, 120, 5.5, 5.5, (60, 40, 30))
        ellipse(128 + 23 * side, 120, 2.4, 2.4, (10, 10, 10))
        ellipse(128 + 7 * side, 154, 3, 2, (skin * 0.45).tolist())
        ellipse(128 + 22 * side, 116, 12, 2.2, dark)
    cv2.line(canvas, at(124, 122), at(121, 150), (skin * 0.8).tolist(), max(1, round(3 * k)), cv2.LINE_AA)
    ellipse(128, 150, 9, 7, (skin * 0.93).tolist())
    ellipse(128, 172, 18, 5.5, rose)
    cv2.line(canvas, at(111, 172), at(145, 172), (90, 30, 34), max(1, round(1.5 * k)), cv2.LINE_AA)
    shaded = cv2.GaussianBlur(canvas, (0, 0), 1.0 * k) * light[:, :, None]
    noise = np.random.default_rng(0).normal(0, 4, shaded.shape)
    return np.clip(shaded + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def draw_face() -> Callable[..., Pixels]:
    return drawn_face


@pytest.fixture(scope="session")
def detector() -> Detector:
    return Detector.load()


@lru_cache(maxsize=64)
def rendered(seed: int, *, side: int = 300) -> Rendered:
    """A portrait of the sample gallery, with the landmarks that it was drawn with."""
    return render_portrait(draw_portrait_attributes(np.random.default_rng(seed)), typical_side=side)


@pytest.fixture(scope="session")
def portrait() -> Callable[..., Rendered]:
    return rendered


def opened(pixels: Pixels) -> Opened:
    """A picture as if it had just been decoded."""
    height, width = pixels.shape[:2]
    return Opened({}, b"", max_pixels=pixels.size, shrunk=Shrunk(pixels, height=height, width=width))


@pytest.fixture(scope="session")
def open_pixels() -> Callable[[Pixels], Opened]:
    return opened


@pytest.fixture(scope="session")
def largest_face(detector: Detector) -> Callable[..., Detection | None]:
    """Finds the largest face of a picture and looks at it closely; None where there is none."""

    def look(pixels: Pixels, **settings: object) -> Detection | None:
        chosen = FaceSettings.model_validate(settings)
        picture = opened(pixels)
        (faces,) = find_faces([picture], detector=detector, settings=chosen)
        closer = refined([picture], faces[:1], detector=detector, settings=chosen)
        return closer[0] if closer else None

    return look


TARGET = template(crop_size=224, eye_distance=0.25, eye_height=0.46)


def moved_by(landmarks: Points, others: Points) -> Points:
    """How far each landmark [5, 2] lies in the crop of `others` from its place in its own, pixels of 224."""
    here, there = placed(landmarks, fit(landmarks, TARGET)), placed(landmarks, fit(others, TARGET))
    return np.asarray(np.linalg.norm(here - there, axis=1))


@pytest.fixture(scope="session")
def moved_in_crop() -> Callable[[Points, Points], Points]:
    return moved_by


def transformed(
    pixels: Pixels, *, angle: float, scale: float = 1.0, shift: tuple[float, float] = (0, 0)
) -> tuple[Pixels, Points]:
    """The picture turned clockwise by `angle` degrees, scaled and shifted, on a canvas that holds all of it.

    Returns:
        The picture, and the matrix [2, 3] that takes points of the old one there.
    """
    height, width = pixels.shape[:2]
    cosine, sine = scale * np.cos(np.radians(angle)), scale * np.sin(np.radians(angle))
    turn = np.array([[cosine, -sine], [sine, cosine]])
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]]) @ turn.T
    low, high = corners.min(axis=0), corners.max(axis=0)
    matrix = np.column_stack([turn, np.maximum(shift, 0) - low])
    right, bottom = np.ceil(high - low + np.abs(shift)).astype(int)
    if scale < 1:
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), 0.3 / scale), dtype=np.uint8)
    # OpenCV counts from the centre of the first pixel.
    centred = matrix.copy()
    centred[:, 2] += turn @ [0.5, 0.5] - 0.5
    moved = cv2.warpAffine(
        pixels, centred, (int(right), int(bottom)), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, dtype=np.uint8), matrix


@pytest.fixture(scope="session")
def transform() -> Callable[..., tuple[Pixels, Points]]:
    return transformed
