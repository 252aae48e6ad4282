"""How well predicted scores agree with annotated ones.

Each statistic is written over weighted faces: a row of weights is one resample, the weight of a face how
often it was drawn, so that thousands of resamples are a few array operations. Ones as weights give the plain
figure.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from selfai_pipeline.errors import UndefinedMetric

Reals = npt.NDArray[np.float64]

WeightedStatistic = Callable[[Reals, Reals, Reals], Reals]
"""(annotated [n], predicted [n], weights [draws, n]) -> [draws]; NaN where a resample defines no value."""

NEGLIGIBLE = 1e-12
"""Variance, as a share of the squared magnitude, that is rounding error and not spread."""


def weighted_pearson(annotated: Reals, predicted: Reals, weights: Reals) -> Reals:
    """Pearson's correlation of each resample."""
    return _row_pearson(annotated[None, :], predicted[None, :], weights)


def weighted_spearman(annotated: Reals, predicted: Reals, weights: Reals) -> Reals:
    """Spearman's correlation of each resample: Pearson's over ranks, ties at the middle of their ranks."""
    return _row_pearson(_resampled_ranks(annotated, weights), _resampled_ranks(predicted, weights), weights)


def weighted_mean_absolute_error(annotated: Reals, predicted: Reals, weights: Reals) -> Reals:
    """Mean of |predicted - annotated|, points."""
    return np.asarray(weights @ np.abs(predicted - annotated) / weights.sum(axis=1))


def weighted_root_mean_square_error(annotated: Reals, predicted: Reals, weights: Reals) -> Reals:
    """Root of the mean of (predicted - annotated)^2, points."""
    return np.asarray(np.sqrt(weights @ (predicted - annotated) ** 2 / weights.sum(axis=1)))


def weighted_bias(annotated: Reals, predicted: Reals, weights: Reals) -> Reals:
    """Mean of predicted - annotated, points: above 0 the model scores higher than the crowd."""
    return np.asarray(weights @ (predicted - annotated) / weights.sum(axis=1))


def weighted_slope(annotated: Reals, predicted: Reals, weights: Reals) -> Reals:
    """Slope of the crowd's score on the model's (least squares), points a point.

    1: a face that the model scores a point higher, the crowd scores a point higher on average. Below 1 the
    model's scores spread too widely, above 1 too narrowly (Cox 1958, Biometrika 45).
    """
    total = weights.sum(axis=1)
    predicted_centred = predicted - (weights @ predicted / total)[:, None]
    annotated_centred = annotated - (weights @ annotated / total)[:, None]
    spread = (weights * predicted_centred**2).sum(axis=1)
    defined = spread > NEGLIGIBLE * (weights @ predicted**2)
    slope = np.full(len(weights), np.nan)
    product = (weights * predicted_centred * annotated_centred).sum(axis=1)
    slope[defined] = product[defined] / spread[defined]
    return slope


def weighted_mean_annotated(annotated: Reals, _: Reals, weights: Reals) -> Reals:
    """Mean of the crowd's scores, points."""
    return np.asarray(weights @ annotated / weights.sum(axis=1))


def plain(
    statistic: WeightedStatistic,
    annotated: npt.ArrayLike,
    predicted: npt.ArrayLike,
    *,
    correlation: bool = False,
) -> float:
    """The value of `statistic` with every face counted once.

    Args:
        annotated: the crowd's scores, [n].
        predicted: the model's scores, [n].
        correlation: whether the statistic needs two faces and scores that differ.

    Raises:
        UndefinedMetric: the figure has no value on these faces; the message says why.
        ValueError: the two differ in length, or a score is not finite.
    """
    truth, guess = paired(annotated, predicted)
    if not len(truth):
        raise UndefinedMetric("there are no faces")
    if correlation:
        if len(truth) < 2:
            raise UndefinedMetric("there is only one face")
        for scores, whose in ((truth, "annotated"), (guess, "predicted")):
            if _spread_is_negligible(scores):
                raise UndefinedMetric(f"all {whose} scores are equal")
    value = float(statistic(truth, guess, np.ones((1, len(truth))))[0])
    if not np.isfinite(value):
        raise UndefinedMetric("the scores differ by less than rounding error")
    return value


def paired(annotated: npt.ArrayLike, predicted: npt.ArrayLike) -> tuple[Reals, Reals]:
    """Both as float64 [n]; raises ValueError where lengths differ or a score is not finite."""
    truth, guess = np.asarray(annotated, np.float64), np.asarray(predicted, np.float64)
    if truth.ndim != 1 or truth.shape != guess.shape:
        raise ValueError(f"annotated and predicted scores have shapes {truth.shape} and {guess.shape}")
    if not (np.isfinite(truth).all() and np.isfinite(guess).all()):
        raise ValueError("a score is not finite")
    return truth, guess


def _spread_is_negligible(scores: Reals) -> bool:
    return bool(np.var(scores) <= NEGLIGIBLE * float(np.mean(scores**2)))


def _row_pearson(first: Reals, second: Reals, weights: Reals) -> Reals:
    """Correlation along each row; `first` and `second` are [1, n] or [draws, n], `weights` [draws, n]."""
    total = weights.sum(axis=1, keepdims=True)
    first_centred = first - (weights * first).sum(axis=1, keepdims=True) / total
    second_centred = second - (weights * second).sum(axis=1, keepdims=True) / total
    first_sum = (weights * first_centred**2).sum(axis=1)
    second_sum = (weights * second_centred**2).sum(axis=1)
    product = (weights * first_centred * second_centred).sum(axis=1)
    defined = (first_sum > NEGLIGIBLE * (weights * first**2).sum(axis=1)) & (
        second_sum > NEGLIGIBLE * (weights * second**2).sum(axis=1)
    )
    correlation = np.full(len(weights), np.nan)
    correlation[defined] = product[defined] / (np.sqrt(first_sum[defined]) * np.sqrt(second_sum[defined]))
    return np.asarray(np.clip(correlation, -1.0, 1.0))


def _resampled_ranks(scores: Reals, weights: Reals) -> Reals:
    """Rank of each face inside each resample, [draws, n]; faces that were not drawn get a rank too."""
    _, group = np.unique(scores, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(group[order]) > 0])
    counts = np.add.reduceat(weights[:, order], starts, axis=1)
    middle = np.cumsum(counts, axis=1) - counts / 2 + 0.5
    return np.asarray(middle[:, group])
