"""Figures against scipy, their properties, and the cases in which they have no value."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import stats

from selfai_pipeline.errors import UndefinedMetric
from selfai_pipeline.evaluation.correlation import (
    plain,
    weighted_bias,
    weighted_mean_absolute_error,
    weighted_pearson,
    weighted_root_mean_square_error,
    weighted_spearman,
)

QUICK = hypothesis_settings(max_examples=40, deadline=None)
scores = st.integers(0, 900).map(lambda hundredths: hundredths / 100)
pairs = st.lists(st.tuples(scores, scores), min_size=3, max_size=25)


def pearson(annotated: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    return plain(weighted_pearson, annotated, predicted, correlation=True)


def spearman(annotated: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    return plain(weighted_spearman, annotated, predicted, correlation=True)


def two_sides(listed: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    both = np.array(listed)
    return both[:, 0], both[:, 1]


@QUICK
@given(pairs)
def test_correlations_equal_scipys_ties_included(listed: list[tuple[float, float]]) -> None:
    annotated, predicted = two_sides(listed)
    if np.ptp(annotated) == 0 or np.ptp(predicted) == 0:
        with pytest.raises(UndefinedMetric, match="scores are equal"):
            pearson(annotated, predicted)
        return
    assert pearson(annotated, predicted) == pytest.approx(
        stats.pearsonr(annotated, predicted).statistic, abs=1e-10
    )
    assert spearman(annotated, predicted) == pytest.approx(
        stats.spearmanr(annotated, predicted).statistic, abs=1e-10
    )


def test_errors_on_figures_worked_by_hand() -> None:
    annotated, predicted = [1.0, 2.0, 3.0], [2.0, 2.0, 1.0]

    assert plain(weighted_mean_absolute_error, annotated, predicted) == pytest.approx(1.0)
    assert plain(weighted_root_mean_square_error, annotated, predicted) == pytest.approx(np.sqrt(5 / 3))
    assert plain(weighted_bias, annotated, predicted) == pytest.approx(-1 / 3)


@QUICK
@given(pairs, st.data())
def test_a_weight_counts_a_face_as_often_as_writing_it_again(
    listed: list[tuple[float, float]], data: st.DataObject
) -> None:
    """A resample by weights is the resample by repetition, ranks included."""
    annotated, predicted = two_sides(listed)
    counts = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(listed), max_size=len(listed))))
    if counts.sum() < 2:
        return
    again, guessed = np.repeat(annotated, counts), np.repeat(predicted, counts)
    weights = counts[None].astype(float)

    assert weighted_mean_absolute_error(annotated, predicted, weights)[0] == pytest.approx(
        plain(weighted_mean_absolute_error, again, guessed)
    )
    for weighted, repeated in ((weighted_pearson, pearson), (weighted_spearman, spearman)):
        found = weighted(annotated, predicted, weights)[0]
        if np.ptp(again) == 0 or np.ptp(guessed) == 0:
            assert np.isnan(found)
        else:
            assert found == pytest.approx(repeated(again, guessed), abs=1e-9)


@pytest.mark.parametrize(
    ("annotated", "predicted", "reason"),
    [
        ([], [], "there are no faces"),
        ([3.0], [3.0], "there is only one face"),
        ([4.0, 4.0, 4.0], [1.0, 2.0, 3.0], "all annotated scores are equal"),
        ([1.0, 2.0, 3.0], [0.1, 0.1, 0.1], "all predicted scores are equal"),
        ([1.0, 2.0, 3.0], [5.0, 5.0 + 1e-9, 5.0], "all predicted scores are equal"),
    ],
)
def test_a_correlation_without_a_value_says_why(
    annotated: list[float], predicted: list[float], reason: str
) -> None:
    with pytest.raises(UndefinedMetric, match=reason):
        pearson(annotated, predicted)


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        pearson([1.0, 2.0], [1.0, float("nan")])
    with pytest.raises(ValueError, match="shapes"):
        pearson([1.0, 2.0], [1.0])
