"""Measures mean what the table says they mean."""

import cv2
import numpy as np
import pytest

from selfai_pipeline.pictures.measures import Pixels, measure, shrink


def noise(height: int = 64, width: int = 64) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_flat_picture() -> None:
    measures = measure(np.full((20, 30, 3), 90, dtype=np.uint8))
    assert measures.brightness == pytest.approx(90, abs=0.5)
    spread = [measures.contrast, measures.blur, measures.entropy, measures.saturation]
    assert spread == pytest.approx([0, 0, 0, 0], abs=1e-4)


def test_half_black_half_white() -> None:
    pixels = np.zeros((20, 20, 3), dtype=np.uint8)
    pixels[:, 10:] = 255
    measures = measure(pixels)
    assert measures.brightness == pytest.approx(127.5)
    assert measures.contrast == pytest.approx(127.5)
    assert measures.entropy == pytest.approx(1)


def test_saturation_of_a_pure_colour() -> None:
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    pixels[:, :, 0] = 200
    assert measure(pixels).saturation == 255


def test_blurring_lowers_blur_and_nothing_else_much() -> None:
    sharp = shrink(np.kron(noise(16, 16), np.ones((12, 12, 1), np.uint8)), side=256)
    values = [measure(np.asarray(cv2.GaussianBlur(sharp, (0, 0), sigma))).blur for sigma in (0.5, 1, 2, 4)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < values[0] / 50


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (700, 3)])
def test_tiny_and_thin_pictures_can_be_measured(shape: tuple[int, int]) -> None:
    assert measure(shrink(noise(*shape), side=256)).entropy >= 0


def test_shrinking_keeps_the_aspect_and_never_enlarges() -> None:
    assert shrink(noise(300, 600), side=256).shape == (128, 256, 3)
    assert shrink(noise(30, 60), side=256).shape == (30, 60, 3)
