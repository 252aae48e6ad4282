"""Bootstrap intervals over independent units, and estimates that carry an interval or the reason for none.

Pictures of one person or near-duplicates are not independent: units are whole clusters of faces, drawn with
replacement (Davison and Hinkley 1997, Bootstrap Methods and their Application, section 3.8).
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from selfai_pipeline.errors import UndefinedMetric
from selfai_pipeline.evaluation.correlation import Reals, WeightedStatistic, paired, plain
from selfai_pipeline.evaluation.settings import EvaluationSettings, IntervalMethod

CELLS_AT_ONCE = 4_000_000
"""Resampled weights held at one time: bounds memory whatever the number of faces and draws."""

LARGEST_UNDEFINED_SHARE = 0.05
"""Share of resamples without a value (all drawn scores equal) above which an interval would mislead."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval; what is absent is None and has its reason in words."""

    value: float | None
    low: float | None = None
    high: float | None = None
    why_no_value: str = ""
    why_no_interval: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def bootstrap_interval(
    statistic: WeightedStatistic,
    annotated: npt.ArrayLike,
    predicted: npt.ArrayLike,
    *,
    clusters: npt.ArrayLike | None = None,
    draws: int = 2000,
    confidence: float = 0.95,
    method: IntervalMethod = IntervalMethod.BCA,
    seed: int = 0,
    least_units: int = 3,
) -> tuple[float, float]:
    """Ends of the bootstrap interval of `statistic`.

    BCa: Efron 1987, Better Bootstrap Confidence Intervals; the acceleration comes from leaving out one
    cluster at a time.

    Args:
        annotated: the crowd's scores, [n].
        predicted: the model's scores, [n].
        clusters: a label a face, [n]; faces that share one are drawn together. Default: each on its own.
        least_units: clusters below which no interval is given.

    Raises:
        UndefinedMetric: too few clusters, or too many resamples have no value.
    """
    truth, guess = paired(annotated, predicted)
    labels = np.arange(len(truth)) if clusters is None else np.asarray(clusters)
    _, unit = np.unique(labels, return_inverse=True)
    units = int(unit.max()) + 1 if len(unit) else 0
    if units < least_units:
        raise UndefinedMetric(f"{units} independent faces are too few, {least_units} are needed")
    resampled = np.concatenate(
        [
            statistic(truth, guess, weights[:, unit])
            for weights in _resampled_weights(units, len(truth), draws, np.random.default_rng(seed))
        ]
    )
    defined = resampled[np.isfinite(resampled)]
    if len(defined) < (1 - LARGEST_UNDEFINED_SHARE) * draws:
        raise UndefinedMetric("too few faces with different scores")
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    if method == IntervalMethod.BCA and defined.min() < defined.max():
        value = float(statistic(truth, guess, np.ones((1, len(truth))))[0])
        tails = _bca_tails(tails, value, defined, _leave_one_out(statistic, truth, guess, unit, units))
    low, high = np.quantile(defined, tails)
    return float(low), float(high)


def estimate(
    statistic: WeightedStatistic,
    annotated: npt.ArrayLike,
    predicted: npt.ArrayLike,
    *,
    clusters: npt.ArrayLike | None = None,
    correlation: bool = False,
    settings: EvaluationSettings,
) -> Estimate:
    """The value of `statistic` and its interval, each or the reason why it is not defined."""
    try:
        value = plain(statistic, annotated, predicted, correlation=correlation)
    except UndefinedMetric as reason:
        return Estimate(None, why_no_value=str(reason), why_no_interval=str(reason))
    try:
        low, high = bootstrap_interval(
            statistic,
            annotated,
            predicted,
            clusters=clusters,
            draws=settings.bootstrap_draws,
            confidence=settings.confidence,
            method=settings.interval_method,
            seed=settings.seed,
            least_units=settings.interval_least_faces,
        )
    except UndefinedMetric as reason:
        return Estimate(value, why_no_interval=str(reason))
    return Estimate(value, low, high)


def _resampled_weights(units: int, faces: int, draws: int, generator: np.random.Generator) -> Iterator[Reals]:
    """How often each unit is drawn, [some draws, units] at a time."""
    step = max(1, CELLS_AT_ONCE // max(units, faces))
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        drawn = generator.integers(units, size=(rows, units)) + units * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units).astype(np.float64)


def _leave_one_out(
    statistic: WeightedStatistic, truth: Reals, guess: Reals, unit: npt.NDArray[np.int64], units: int
) -> Reals:
    """The statistic without each unit in turn, [units]; those without a value are left out."""
    step = max(1, CELLS_AT_ONCE // len(truth))
    values = [
        statistic(truth, guess, (np.arange(start, min(start + step, units))[:, None] != unit).astype(float))
        for start in range(0, units, step)
    ]
    found = np.concatenate(values)
    return np.asarray(found[np.isfinite(found)])


def _bca_tails(tails: Reals, value: float, resampled: Reals, left_out: Reals) -> Reals:
    """Quantiles of the resamples that the BCa interval ends at."""
    below = np.mean(resampled < value) + np.mean(resampled == value) / 2
    edge = 0.5 / len(resampled)
    shift = ndtri(np.clip(below, edge, 1 - edge))
    deviation = left_out.mean() - left_out
    spread = float(np.sum(deviation**2))
    acceleration = float(np.sum(deviation**3)) / (6 * spread**1.5) if spread > 0 else 0.0
    moved = shift + ndtri(tails)
    return np.asarray(ndtr(shift + moved / (1 - acceleration * moved)))
