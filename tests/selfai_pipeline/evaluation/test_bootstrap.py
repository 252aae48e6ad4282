"""Intervals against scipy, their coverage on simulated data, and the cases in which there is none."""

import numpy as np
import pytest
from scipy import stats

from selfai_pipeline.errors import UndefinedMetric
from selfai_pipeline.evaluation import bootstrap
from selfai_pipeline.evaluation.bootstrap import bootstrap_interval, estimate
from selfai_pipeline.evaluation.correlation import (
    weighted_mean_absolute_error,
    weighted_pearson,
    weighted_spearman,
)
from selfai_pipeline.evaluation.settings import EvaluationSettings, IntervalMethod

METHODS = {IntervalMethod.BCA: "BCa", IntervalMethod.PERCENTILE: "percentile"}


def correlated(n: int, *, rho: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    first, second = generator.normal(size=(2, n))
    return first, rho * first + np.sqrt(1 - rho**2) * second


@pytest.mark.parametrize("method", METHODS)
def test_intervals_agree_with_scipys(method: IntervalMethod) -> None:
    """Both draw 4,000 resamples of their own: the ends differ by the chance of the draws only."""
    annotated, predicted = correlated(40, rho=0.8, seed=1)
    theirs = stats.bootstrap(
        (annotated, predicted),
        lambda first, second, axis: stats.pearsonr(first, second, axis=axis).statistic,
        paired=True,
        n_resamples=4000,
        method=METHODS[method],
        rng=np.random.default_rng(5),
    ).confidence_interval

    ours = bootstrap_interval(weighted_pearson, annotated, predicted, draws=4000, method=method, seed=6)

    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.02)


@pytest.mark.parametrize("method", METHODS)
def test_the_interval_covers_the_true_correlation_about_as_often_as_it_says(method: IntervalMethod) -> None:
    """200 samples of 40 faces with a true correlation of 0.8; 95 % +- 3 standard errors of a count, and the
    bootstrap's known shortfall at small samples."""
    covered = 0
    for seed in range(200):
        low, high = bootstrap_interval(
            weighted_pearson, *correlated(40, rho=0.8, seed=seed), draws=400, method=method, seed=seed
        )
        covered += low <= 0.8 <= high

    assert 0.88 <= covered / 200 <= 0.99


def test_faces_of_one_person_widen_the_interval() -> None:
    """Each face four times over is no more evidence than each once: the interval by cluster stays as it was,
    the one that takes copies for independent faces is about half as wide."""
    annotated, predicted = correlated(50, rho=0.7, seed=3)
    copied = np.repeat(annotated, 4), np.repeat(predicted, 4)
    once = np.diff(bootstrap_interval(weighted_pearson, annotated, predicted, draws=1000))
    by_cluster = np.diff(
        bootstrap_interval(weighted_pearson, *copied, clusters=np.repeat(np.arange(50), 4), draws=1000)
    )
    careless = np.diff(bootstrap_interval(weighted_pearson, *copied, draws=1000))

    assert by_cluster == pytest.approx(once)
    assert careless < 0.6 * by_cluster


def test_the_same_seed_gives_the_same_interval_however_it_is_cut_into_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    annotated, predicted = correlated(30, rho=0.5, seed=4)
    whole = bootstrap_interval(weighted_spearman, annotated, predicted, draws=500, seed=9)
    monkeypatch.setattr(bootstrap, "CELLS_AT_ONCE", 100)

    assert bootstrap_interval(weighted_spearman, annotated, predicted, draws=500, seed=9) == whole
    assert bootstrap_interval(weighted_spearman, annotated, predicted, draws=500, seed=8) != whole


def test_a_perfect_model_has_an_interval_of_no_width() -> None:
    annotated = np.arange(20.0)

    low, high = bootstrap_interval(weighted_pearson, annotated, annotated, draws=200)

    assert (low, high) == pytest.approx((1.0, 1.0))


def test_without_enough_independent_faces_there_is_no_interval() -> None:
    annotated, predicted = correlated(12, rho=0.5, seed=0)
    with pytest.raises(UndefinedMetric, match="2 independent faces are too few, 8 are needed"):
        bootstrap_interval(
            weighted_pearson, annotated, predicted, clusters=np.arange(12) % 2, draws=200, least_units=8
        )
    nearly_constant = np.array([1.0] + [2.0] * 11)
    with pytest.raises(UndefinedMetric, match="too few faces with different scores"):
        bootstrap_interval(weighted_pearson, nearly_constant, predicted, draws=200)


def test_an_estimate_carries_what_is_not_defined_in_words() -> None:
    settings = EvaluationSettings(bootstrap_draws=200)
    few = estimate(weighted_pearson, [1.0, 2.0, 4.0], [1.0, 3.0, 3.0], correlation=True, settings=settings)
    flat = estimate(weighted_pearson, np.ones(20), np.arange(20.0), correlation=True, settings=settings)
    error = estimate(weighted_mean_absolute_error, np.ones(20), np.arange(20.0), settings=settings)

    assert few.value == pytest.approx(0.7559, abs=1e-4)
    assert (few.low, few.why_no_interval) == (None, "3 independent faces are too few, 8 are needed")
    assert (flat.value, flat.why_no_value) == (None, "all annotated scores are equal")
    assert error.value is not None
    assert error.low is not None
    assert error.high is not None
    assert error.low < error.value < error.high
