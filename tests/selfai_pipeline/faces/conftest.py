"""A drawn face, so that no photograph is needed, and the detector, loaded once."""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from selfai_pipeline.faces.detector import Detector

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
