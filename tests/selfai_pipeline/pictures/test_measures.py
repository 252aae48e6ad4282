"""Measures mean what the table says they mean."""

import cv2
import numpy as np
import pytest

from selfai_pipeline.pictures.measures import (
    Luma,
    Measures,
    Pixels,
    inside_borders,
    measure,
    measured_luma,
    shrink,
    thumbnail_of,
)


def measured(pixels: Pixels) -> Measures:
    return measure(pixels, measured_luma(pixels))


def noise(height: int = 64, width: int = 64) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def scene(seed: int = 0, *, height: int = 200, width: int = 240) -> Pixels:
    """Soft shapes and some grain, as a photograph has them."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(20, 236, (9, 9, 3), dtype=np.uint8)
    smooth = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    return np.clip(smooth + rng.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)


def test_a_flat_picture() -> None:
    measures = measured(np.full((20, 30, 3), 90, dtype=np.uint8))
    assert measures.brightness == pytest.approx(90, abs=0.5)
    spread = [measures.contrast, measures.blur, measures.entropy, measures.saturation]
    assert spread == pytest.approx([0, 0, 0, 0], abs=1e-4)
    assert (measures.border, measures.screenshot, measures.collage) == (1, 0, 0)


def test_half_black_half_white() -> None:
    pixels = np.zeros((20, 20, 3), dtype=np.uint8)
    pixels[:, 10:] = 255
    measures = measured(pixels)
    assert measures.brightness == pytest.approx(127.5)
    assert measures.contrast == pytest.approx(127.5)
    assert measures.entropy == pytest.approx(1)


def test_saturation_of_a_pure_colour() -> None:
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    pixels[:, :, 0] = 200
    assert measured(pixels).saturation == 255


def test_blurring_lowers_blur_and_nothing_else_much() -> None:
    sharp = shrink(np.kron(noise(16, 16), np.ones((12, 12, 1), np.uint8)), side=256)
    values = [measured(np.asarray(cv2.GaussianBlur(sharp, (0, 0), sigma))).blur for sigma in (0.5, 1, 2, 4)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < values[0] / 50


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (700, 3), (2, 2)])
def test_tiny_and_thin_pictures_can_be_measured(shape: tuple[int, int]) -> None:
    pixels = noise(*shape)
    assert measured(pixels).entropy >= 0
    assert thumbnail_of(measured_luma(pixels)).shape == (64, 64)


def test_shrinking_keeps_the_aspect_and_never_enlarges() -> None:
    assert shrink(noise(300, 600), side=256).shape == (128, 256, 3)
    assert shrink(noise(30, 60), side=256).shape == (30, 60, 3)
    assert measured_luma(noise(300, 600)).shape == (128, 256)
    assert measured_luma(noise(30, 60)).shape == (30, 60)


def boxed(pixels: Pixels, *, rows: int = 0, columns: int = 0, grey: int = 0) -> Pixels:
    bars = ((rows, rows), (columns, columns), (0, 0))
    return np.pad(pixels, bars, constant_values=grey)


@pytest.mark.parametrize(
    ("bars", "share"),
    [
        ({}, 0.0),
        ({"rows": 50}, 1 / 3),
        ({"columns": 60}, 1 / 3),
        ({"rows": 20, "columns": 24, "grey": 255}, 1 - 200 * 240 / (240 * 288)),
    ],
    ids=["none", "letter-box", "pillar-box", "frame"],
)
@pytest.mark.parametrize("quality", [100, 60])
def test_border_is_the_share_that_bars_take(bars: dict[str, int], share: float, quality: int) -> None:
    content = cv2.imencode(".jpg", boxed(scene(), **bars), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    pixels = np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR), dtype=np.uint8)
    assert measured(pixels).border == pytest.approx(share, abs=0.02)


def backdrop_with_a_head() -> Luma:
    luma = np.full((200, 200), 235, dtype=np.uint8)
    cv2.ellipse(luma, (100, 130), (50, 90), 0, 0, 360, 80, -1)
    return luma


def test_a_plain_backdrop_is_no_border() -> None:
    assert inside_borders(backdrop_with_a_head()).shape == (200, 200)


def page(seed: int = 0) -> Pixels:
    """A window with a title bar, lines of words and a photograph, drawn as a computer draws them."""
    rng = np.random.default_rng(seed)
    pixels = np.full((600, 800, 3), 246, dtype=np.uint8)
    pixels[:40] = (40, 60, 110)
    for line in range(14):
        words = "".join(chr(97 + letter) for letter in rng.integers(0, 26, 34))
        cv2.putText(pixels, words, (30, 90 + 34 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (30, 30, 30), 1)
    pixels[100:300, 540:780] = scene(seed)
    return pixels


def test_a_page_looks_more_like_a_screenshot_than_pictures_do() -> None:
    screens = [measured(page(seed)).screenshot for seed in range(4)]
    pictures = [measured(scene(seed)).screenshot for seed in range(4)]
    assert min(screens) > 1.5 * max(pictures)


@pytest.mark.parametrize("gutter", [0, 6])
def test_pictures_side_by_side_have_a_seam_through_the_whole(gutter: int) -> None:
    bar = np.full((200, gutter, 3), 255, dtype=np.uint8)
    side_by_side = np.hstack([scene(1) // 2, bar, scene(2) // 2 + 127])
    assert measured(side_by_side).collage > 0.9
    assert measured(np.ascontiguousarray(np.rot90(side_by_side))).collage > 0.9
    assert measured(scene(1)).collage < 0.6


def test_the_seam_of_a_letter_box_is_no_collage() -> None:
    assert measured(boxed(scene(1), rows=50)).collage == pytest.approx(measured(scene(1)).collage, abs=0.15)
