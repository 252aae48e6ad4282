"""A day is unusual where faces differ from earlier days, or eyes from the template, by more than chance."""

import numpy as np
import pytest

from selfai_pipeline.faces.drift import eye_comparison, residual_comparison, share_comparison

SAME = [(95, 100)] * 5


@pytest.mark.parametrize(
    ("day", "unusual"),
    [((95, 100), False), ((91, 100), False), ((70, 100), True), ((100, 100), False), ((0, 20), True)],
    ids=["the same", "a little lower", "a drop", "more faces", "none at all"],
)
def test_a_drop_beyond_chance_is_unusual(day: tuple[int, int], unusual: bool) -> None:
    found = share_comparison(day, SAME)
    assert found.unusual is unusual
    assert found.figures["earlier_face_share"] == pytest.approx(0.95)
    assert f"of {day[1]} pictures give a face, 95.0% of 500 on 5 earlier days" in found.text


def test_a_drop_that_is_certain_but_small_is_not() -> None:
    found = share_comparison((98_500, 100_000), [(99_900, 100_000)] * 3)
    assert found.figures["chance"] < 1e-6
    assert not found.unusual


def test_where_days_differ_anyway_a_day_has_to_differ_more() -> None:
    """Sources of other kinds give other shares: chance within a day is not all there is."""
    steady = [(800, 1000)] * 6
    mixed = [(950, 1000), (650, 1000), (930, 1000), (700, 1000), (880, 1000), (690, 1000)]
    assert share_comparison((680, 1000), steady).unusual
    assert not share_comparison((680, 1000), mixed).unusual


def test_chance_alone_is_rarely_unusual() -> None:
    rng = np.random.default_rng(0)
    days = rng.binomial(100, 0.9, size=(1500, 8))
    unusual = [share_comparison((day[0], 100), [(found, 100) for found in day[1:]]).unusual for day in days]
    assert sum(unusual) <= 6


def test_a_day_without_a_loss_before_it_is_compared_too() -> None:
    assert not share_comparison((49, 50), [(300, 300)]).unusual
    assert share_comparison((40, 50), [(300, 300)]).unusual


@pytest.mark.parametrize(("day", "earlier"), [((0, 19), SAME), ((0, 100), [(19, 19)]), ((0, 100), [])])
def test_of_few_pictures_nothing_is_said(day: tuple[int, int], earlier: list[tuple[int, int]]) -> None:
    found = share_comparison(day, earlier)
    assert not found.unusual
    assert found.figures == {}
    assert "too few to compare" in found.text


@pytest.mark.parametrize(
    ("beyond", "crops", "unusual"), [(20, 20, True), (14, 20, False), (550, 1000, True), (500, 1000, False)]
)
def test_eyes_are_off_where_more_than_half_of_the_crops_are_beyond_chance(
    beyond: int, crops: int, unusual: bool
) -> None:
    errors = np.where(np.arange(crops) < beyond, 2.5, 1.5)
    found = eye_comparison(errors, most=2.0)
    assert found.unusual is unusual
    assert f"the eyes of {beyond} of {crops} crops are off by more than 2.00 px" in found.text


def test_a_small_day_of_faces_near_the_bound_is_rarely_unusual() -> None:
    """The median of such a day lies beyond every third time."""
    days = np.random.default_rng(0).lognormal(np.log(1.85), 0.4, (1000, 24))
    assert (np.median(days, axis=1) > 2).sum() > 100
    assert sum(eye_comparison(day, most=2.0).unusual for day in days) <= 2


def test_of_few_crops_nothing_is_said() -> None:
    assert not eye_comparison(np.full(19, 9.0), most=2.0).unusual


def residuals(median: float, count: int, seed: int = 0) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return np.random.default_rng(seed).lognormal(np.log(median), 0.35, count)


@pytest.mark.parametrize(
    ("median", "unusual"), [(3.3, False), (5.0, True), (2.0, False)], ids=["the same", "worse", "better"]
)
def test_faces_that_fit_worse_are_unusual(median: float, unusual: bool) -> None:
    found = residual_comparison(residuals(median, 100, seed=1), residuals(3.3, 800))
    assert found.unusual is unusual
    assert found.figures["earlier_median_residual_px"] == pytest.approx(3.3, abs=0.2)


def test_a_shift_that_is_certain_but_small_stops_nobody() -> None:
    found = residual_comparison(residuals(3.5, 20_000, seed=1), residuals(3.3, 20_000))
    assert found.figures["chance"] < 1e-6
    assert not found.unusual


def test_of_few_faces_nothing_is_said() -> None:
    assert residual_comparison(residuals(9, 19), residuals(3, 800)).figures == {}
    assert residual_comparison(residuals(9, 100), residuals(3, 0)).figures == {}
