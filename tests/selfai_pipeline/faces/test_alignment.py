"""The similarity is the least-squares one, and the crop shows what it says."""

import math

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from selfai_pipeline.faces.alignment import Alignment, Points, align, crop, similarity, template

SIZE = 224
TARGET = template(crop_size=SIZE, eye_distance=0.25, eye_height=0.46)


def moved(points: Points, *, angle: float, scale: float, shift: tuple[float, float]) -> Points:
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return np.asarray(points @ (scale * turn).T + np.array(shift))


def pictured(*, angle: float = 0, scale: float = 1, shift: tuple[float, float] = (0, 0)) -> Points:
    return moved(TARGET, angle=angle, scale=scale, shift=shift)


def fitted(landmarks: Points, *, height: int = 500, width: int = 500) -> Alignment:
    return align(landmarks, TARGET, picture_size=(height, width), crop_size=SIZE)


def test_the_template_is_symmetric_with_level_eyes() -> None:
    assert TARGET[:, 0] + TARGET[[1, 0, 2, 4, 3], 0] == pytest.approx(np.full(5, SIZE))
    assert TARGET[:2, 1] == pytest.approx(np.full(2, 0.46 * SIZE))
    assert TARGET[1, 0] - TARGET[0, 0] == pytest.approx(0.25 * SIZE)
    assert TARGET[2:, 1].min() > TARGET[1, 1]


motions = {
    "angle": st.floats(-3, 3),
    "scale": st.floats(0.1, 10),
    "shift": st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
}


@hypothesis_settings(max_examples=50, deadline=None)
@given(**motions)
def test_an_exact_similarity_is_recovered(angle: float, scale: float, shift: tuple[float, float]) -> None:
    alignment = fitted(pictured(angle=angle, scale=scale, shift=shift))
    assert alignment.residual < 1e-6
    assert math.radians(alignment.roll) == pytest.approx(angle, abs=1e-6)
    assert math.hypot(*alignment.matrix[:, 0]) == pytest.approx(1 / scale)


@hypothesis_settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), **motions)
def test_no_other_similarity_is_nearer(
    seed: int, angle: float, scale: float, shift: tuple[float, float]
) -> None:
    rng = np.random.default_rng(seed)
    landmarks = pictured(angle=angle, scale=scale, shift=shift) + rng.normal(0, 5 * scale, (5, 2))

    def error(matrix: Points) -> float:
        return float(((landmarks @ matrix[:, :2].T + matrix[:, 2] - TARGET) ** 2).sum())

    best = similarity(landmarks, TARGET)
    a, b = best[0, 0], best[1, 0]
    assert best[:, :2] == pytest.approx(np.array([[a, -b], [b, a]]))
    for _ in range(20):
        da, db, dx, dy = rng.normal(0, 1e-3, 4) * [1 / scale, 1 / scale, 1, 1]
        other = best + np.array([[da, -db, dx], [db, da, dy]])
        assert error(other) >= error(best) - 1e-9


def test_it_agrees_with_umeyamas_own_formula() -> None:
    rng = np.random.default_rng(3)
    landmarks = pictured(angle=0.4, scale=2) + rng.normal(0, 6, (5, 2))
    source, target = landmarks - landmarks.mean(axis=0), TARGET - TARGET.mean(axis=0)
    u, strength, v = np.linalg.svd(target.T @ source)
    sign = np.diag([1, np.sign(np.linalg.det(u @ v))])
    scale = (strength * np.diag(sign)).sum() / (source**2).sum()
    assert similarity(landmarks, TARGET)[:, :2] == pytest.approx(scale * u @ sign @ v)


def test_swapped_landmarks_have_a_large_residual() -> None:
    """A mirrored order cannot be reached by turning: reflection is no similarity here."""
    assert fitted(pictured()[[1, 0, 2, 4, 3]]).residual > 25
    assert fitted(pictured()[[3, 4, 2, 0, 1]]).residual > 10


def test_points_in_one_place_are_refused() -> None:
    with pytest.raises(ValueError, match="two different points"):
        similarity(np.ones((5, 2)), TARGET)


def test_roll_is_clockwise_as_one_sees_it() -> None:
    """Turned clockwise, the eye at the right of the picture lies lower."""
    landmarks = pictured(angle=math.radians(10))
    assert landmarks[1, 1] > landmarks[0, 1]
    assert fitted(landmarks).roll == pytest.approx(10)


@pytest.mark.parametrize(
    ("shift", "border"),
    [((0, 0), 0.0), ((-SIZE / 2, 0), 0.5), ((0, -SIZE / 4), 0.25), ((-SIZE, 0), 1.0), ((900, 0), 1.0)],
)
def test_border_is_the_share_outside(shift: tuple[float, float], border: float) -> None:
    assert fitted(pictured(shift=shift)).border == pytest.approx(border, abs=1e-3)


def test_border_of_a_turned_crop_agrees_with_a_warped_mask() -> None:
    landmarks = pictured(angle=0.5, scale=1.8, shift=(40, 10))
    alignment = fitted(landmarks, height=260, width=330)
    mask = np.full((260, 330), 255, dtype=np.uint8)
    warped = cv2.warpAffine(mask, alignment.matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR)
    assert alignment.border == pytest.approx(1 - np.asarray(warped).mean() / 255, abs=0.01)


def covered(alignment: Alignment, *, height: int, width: int) -> float:
    """Share of a crop outside the picture by a grid of its points."""
    x, y = np.meshgrid(*[(np.arange(200) + 0.5) / 200 * SIZE] * 2)
    points = np.column_stack([x.ravel(), y.ravel()]) - alignment.matrix[:, 2]
    x, y = np.linalg.solve(alignment.matrix[:, :2], points.T)
    return float(1 - ((x >= 0) & (x <= width) & (y >= 0) & (y <= height)).mean())


@hypothesis_settings(max_examples=200, deadline=None)
@given(
    angle=st.sampled_from([0.0, 1e-9, math.pi / 2]) | st.floats(-3, 3),
    scale=st.just(1.0) | st.floats(0.3, 5),
    shift=st.tuples(st.integers(-300, 300), st.integers(-300, 300)),
    nudge=st.sampled_from([0.0, 1e-6, -1e-6, 1e-4]),
    height=st.integers(50, 600),
    width=st.integers(50, 600),
)
@example(angle=1e-9, scale=0.5, shift=(0, 0), nudge=0.0, height=50, width=50)
def test_border_agrees_with_a_count_of_points(
    angle: float, scale: float, shift: tuple[int, int], nudge: float, height: int, width: int
) -> None:
    """Corners and edges that coincide with the picture's, or nearly do, included."""
    landmarks = pictured(angle=angle, scale=scale, shift=(shift[0] + nudge, shift[1] + nudge))
    alignment = fitted(landmarks, height=height, width=width)
    assert alignment.border == pytest.approx(covered(alignment, height=height, width=width), abs=0.02)


def smooth(height: int, width: int, *, scale: float = 1) -> npt.NDArray[np.uint8]:
    """A picture that is the same scene at every resolution."""
    y, x = ((np.arange(n) + 0.5) / scale for n in (height, width))
    red = 128 + 90 * np.sin(x / 23)[None, :] * np.cos(y / 31)[:, None]
    return np.repeat(red[:, :, None], 3, axis=2).astype(np.uint8)


def test_a_crop_without_motion_is_the_picture_itself() -> None:
    picture = smooth(300, 300)
    matrix = np.array([[1.0, 0, 0], [0, 1, 0]])
    assert np.array_equal(crop(picture, matrix, crop_size=SIZE), picture[:SIZE, :SIZE])


@pytest.mark.parametrize("scale", [0.5, 0.8, 1.0, 1.7, 3.1, 6.0])
@pytest.mark.parametrize("angle", [0.0, 0.3, -0.7])
def test_the_crop_is_the_same_from_every_resolution(scale: float, angle: float) -> None:
    """No shift by half a pixel between scales: the same scene gives the same crop."""
    side = round(700 * scale)
    scene = moved(TARGET, angle=angle, scale=1, shift=(250, 200))
    reference = crop(smooth(700, 700), fitted(scene).matrix, crop_size=SIZE)
    found = crop(smooth(side, side, scale=scale), fitted(scene * scale).matrix, crop_size=SIZE)
    assert np.abs(found.astype(int) - reference).max() <= 4


def test_shrinking_averages_instead_of_aliasing() -> None:
    """A chequerboard of single pixels, shrunk by eight, is grey."""
    board = (np.indices((1792, 1792)).sum(axis=0) % 2 * 255).astype(np.uint8)
    picture = np.repeat(board[:, :, None], 3, axis=2)
    matrix = np.array([[1 / 8, 0, 0], [0, 1 / 8, 0]])
    assert np.abs(crop(picture, matrix, crop_size=SIZE).astype(int) - 127).max() <= 3


def test_outside_the_picture_the_edge_is_repeated() -> None:
    picture = np.zeros((100, 100, 3), dtype=np.uint8)
    picture[:, -1] = (10, 200, 30)
    found = crop(picture, np.array([[1.0, 0, 0], [0, 1, 0]]), crop_size=SIZE)
    assert np.all(found[:100, 100:] == (10, 200, 30))


@pytest.mark.parametrize("shift", [(-5000, 0), (5000, 5000)])
@pytest.mark.parametrize("scale", [0.05, 1, 40])
def test_a_crop_wholly_outside_still_has_its_size(shift: tuple[float, float], scale: float) -> None:
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], dtype=np.float64)
    assert crop(smooth(50, 60), matrix, crop_size=SIZE).shape == (SIZE, SIZE, 3)
