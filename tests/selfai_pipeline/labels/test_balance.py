"""Class first, then picture: every class is as likely, and every picture of a class."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfai_pipeline.labels.balance import class_balanced_weights, classes_of


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
