"""Training draws a class first and then a picture, or by a smoothed density, or evenly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfai_pipeline.labels.balance import (
    class_balanced_weights,
    class_counts,
    classes_of,
    draw_weights,
    draws_by_class,
    smoothed_weights,
)
from selfai_pipeline.labels.settings import Balance, LabelSettings


def test_a_score_belongs_to_the_nearest_class_and_halves_go_up() -> None:
    scores = np.array([-1.0, 0.0, 0.49, 0.5, 1.5, 2.5, 8.49, 8.5, 9.0, 9.7])
    assert classes_of(scores).tolist() == [0, 0, 0, 1, 2, 3, 8, 9, 9, 9]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=200))
def test_classes_are_drawn_equally_often(classes: list[int]) -> None:
    numbers = np.array(classes)
    weights = class_balanced_weights(numbers)
    assert weights.sum() == pytest.approx(1)
    present = set(classes)
    for number in present:
        own = weights[numbers == number]
        assert own.sum() == pytest.approx(1 / len(present))
        assert np.ptp(own) == 0


def skewed(n: int = 4000) -> np.ndarray:
    """Scores as a crowd gives them: many in the middle, few at the ends."""
    return np.clip(np.random.default_rng(0).normal(4.5, 1.5, n), 0, 9)


def drawn(scores: np.ndarray, weights: np.ndarray, bins: int = 9) -> np.ndarray:
    """Share of the draws that falls into each of the bins."""
    return np.histogram(scores, bins=bins, range=(0, 9), weights=weights)[0]


def test_smoothed_draws_are_near_to_even_over_the_scale() -> None:
    scores = skewed()
    before = drawn(scores, np.full(len(scores), 1 / len(scores)))
    after = drawn(scores, draw_weights(scores, LabelSettings(balance="smoothed", smoothing_width=0.3)))
    assert after.sum() == pytest.approx(1)
    assert before.max() / before.min() > 20
    assert after.max() / after.min() < 2


def test_smoothed_weights_do_not_jump_where_a_class_ends() -> None:
    scores = np.concatenate([skewed(), [1.499, 1.501]])
    smoothed = draw_weights(scores, LabelSettings(balance="smoothed"))
    by_class = draw_weights(scores, LabelSettings())
    assert smoothed[-1] / smoothed[-2] == pytest.approx(1, abs=0.15)
    assert by_class[-2] / by_class[-1] > 2


def test_a_wider_kernel_weighs_less_and_the_widest_not_at_all() -> None:
    scores = skewed()
    ranges = [
        np.ptp(np.log(draw_weights(scores, LabelSettings(balance="smoothed", smoothing_width=width))))
        for width in (0.1, 0.5, 1.5, 9.0)
    ]
    assert ranges == sorted(ranges, reverse=True)
    assert ranges[-1] < 0.1 * ranges[0]


def test_the_ends_of_an_even_scale_are_not_taken_for_rare() -> None:
    scores = np.linspace(0, 9, 9001)
    weights = draw_weights(scores, LabelSettings(balance="smoothed", smoothing_width=1.0))
    np.testing.assert_allclose(weights * len(scores), 1, rtol=0.02)


def test_the_density_is_that_of_the_paper() -> None:
    """A kernel over the counts of the bins; two scores, one of them three times as common."""
    scores = np.array([2.05, 2.05, 2.05, 7.05])
    weights = smoothed_weights(scores, width=0.2, bins=90)
    assert weights[-1] / weights[0] == pytest.approx(3)
    near = np.array([4.05, 4.05, 4.05, 4.45])
    kernel = np.exp(-0.5 * (0.4 / 0.2) ** 2)
    found = smoothed_weights(near, width=0.2, bins=90)
    assert found[-1] / found[0] == pytest.approx((3 + kernel) / (1 + 3 * kernel))


def test_without_balance_every_face_is_drawn_as_often() -> None:
    weights = draw_weights(skewed(50), LabelSettings(balance="none"))
    np.testing.assert_allclose(weights, 1 / 50)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(0, 9), min_size=1, max_size=100),
    st.sampled_from(list(Balance)),
    st.floats(0.05, 9),
    st.integers(10, 500),
)
def test_weights_are_a_distribution_without_zeros(
    scores: list[float], balance: Balance, width: float, bins: int
) -> None:
    options = LabelSettings(balance=balance, smoothing_width=width, smoothing_bins=bins)
    weights = draw_weights(np.array(scores), options)
    assert weights.sum() == pytest.approx(1)
    assert (weights > 0).all()


def test_what_each_class_gets_is_counted() -> None:
    classes = np.array([3, 3, 3, 5])
    assert class_counts(classes)["3"] == 3
    assert class_counts(classes)["0"] == 0
    draws = draws_by_class(classes, class_balanced_weights(classes))
    assert (draws["3"], draws["5"]) == (pytest.approx(0.5), pytest.approx(0.5))
    assert len(draws) == 10
