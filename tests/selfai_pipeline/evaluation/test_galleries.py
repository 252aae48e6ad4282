"""Which faces are picked to stand for a model."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from selfai_pipeline.evaluation.galleries import highest_and_lowest, middle, spread_evenly, worst_errors

scores = st.lists(st.integers(0, 9), min_size=1, max_size=30).map(lambda listed: np.array(listed, float))


def test_galleries_run_from_the_outside_in() -> None:
    predicted = np.array([5.0, 1.0, 9.0, 3.0, 7.0])

    highest, lowest = highest_and_lowest(predicted, 2)

    assert predicted[highest].tolist() == [9.0, 7.0]
    assert predicted[lowest].tolist() == [1.0, 3.0]
    assert predicted[middle(predicted, 1)].tolist() == [5.0]
    assert predicted[spread_evenly(predicted, 3)].tolist() == [9.0, 5.0, 1.0]


def test_the_worst_errors_come_first_in_either_direction() -> None:
    assert worst_errors(np.array([1.0, 5.0, 9.0]), np.array([2.0, 5.1, 5.0]), 2).tolist() == [2, 0]


@hypothesis_settings(max_examples=40, deadline=None)
@given(scores, st.integers(0, 40))
def test_no_face_is_shown_as_both_high_and_low(predicted: np.ndarray, most: int) -> None:
    highest, lowest = highest_and_lowest(predicted, most)

    assert not set(highest) & set(lowest)
    assert len(highest) + len(lowest) == min(2 * most, len(predicted))
    assert all(predicted[high] >= predicted[low] for high in highest for low in lowest)


@hypothesis_settings(max_examples=40, deadline=None)
@given(scores, st.integers(0, 40))
def test_evenly_spread_faces_are_different_faces_from_end_to_end(predicted: np.ndarray, most: int) -> None:
    rows = spread_evenly(predicted, most)

    assert len(set(rows)) == min(most, len(predicted))
    if most > 1:
        assert predicted[rows[0]] == predicted.max()
        assert predicted[rows[-1]] == predicted.min()


def test_equal_scores_keep_the_order_of_the_table() -> None:
    assert highest_and_lowest(np.full(4, 5.0), 2)[0].tolist() == [0, 1]
    assert middle(np.full(5, 5.0), 3).tolist() == [1, 2, 3]
    assert worst_errors(np.zeros(3), np.ones(3), 3).tolist() == pytest.approx([0, 1, 2])
