import numpy as np
import pytest

from selfai_pipeline.sources.gallery.canvas import Canvas, Placement, ellipse, mirrored, rgb, spline

RED = rgb(255, 0, 0)


def canvas(side: int = 64) -> Canvas:
    return Canvas(np.zeros((side, side, 3), np.float32), Placement(side / 2, side / 2, side / 4, 0.0))


def test_a_curve_passes_through_its_points() -> None:
    points = np.array([[0.0, 0.0], [1.0, 2.0], [3.0, 1.0]])
    curve = spline(points, closed=False, steps=5)
    assert np.allclose(curve[::5], points)


def test_many_curves_at_once_equal_one_after_the_other() -> None:
    points = np.random.default_rng(0).normal(size=(4, 5, 2))
    together = spline(points, closed=True)
    assert np.allclose(together, [spline(one, closed=True) for one in points])


def test_an_outline_mirrored_is_symmetric() -> None:
    outline = mirrored([[0.0, -1.0], [1.0, 0.0], [0.0, 1.0]])
    assert outline.tolist() == [[0, -1], [1, 0], [0, 1], [-1, 0]]


def test_a_placement_turns_and_scales() -> None:
    place = Placement(x=10, y=20, scale=5, roll=np.pi / 2)
    assert np.allclose(place([[0, 0], [1, 0]]), [[10, 20], [10, 25]])


def test_paint_covers_the_area_of_the_shape() -> None:
    board = canvas(side=512)
    board.paint(board.region(ellipse(0, 0, 1, 0.5)), RED)
    assert board.pixels[..., 0].sum() == pytest.approx(np.pi * 128 * 64, rel=0.03)
    assert board.pixels[..., 1:].max() == 0


def test_a_clip_keeps_paint_inside() -> None:
    board = canvas()
    clip = board.region(ellipse(0, 0, 0.5, 0.5))
    board.paint(board.region(ellipse(0, 0, 2, 2), clip=clip), RED)
    assert board.pixels[32, 32, 0] == pytest.approx(1)
    assert board.pixels[32, 46, 0] == 0


def test_shapes_beyond_the_picture_are_left_out() -> None:
    board = canvas()
    assert board.region(ellipse(50, 0, 1, 1)) is None
    board.paint(board.region(ellipse(2, 2, 1, 1), softness=0.2), RED)
    board.paint(None, RED)
    assert board.pixels[0, 0, 0] == 0
    assert board.pixels[-1, -1, 0] > 0.5


def test_a_streak_of_neutral_tone_changes_nothing() -> None:
    board = canvas()
    board.pixels[:] = 0.5
    clip = board.region(ellipse(0, 0, 1, 1))
    paths = np.array([[[-1.0, 0.0], [1.0, 0.0]]])
    board.streak(paths, [1.0], width=0.1, opacity=1.0, clip=clip)
    assert np.all(board.pixels == 0.5)
    board.streak(paths, [0.5], width=0.1, opacity=1.0, clip=clip)
    assert board.pixels[32, 32, 0] == pytest.approx(0.25, abs=0.01)
