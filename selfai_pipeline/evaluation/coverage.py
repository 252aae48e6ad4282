"""How many test faces the scorer's intervals cover: over all, by height of the score, and within groups."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from selfai_pipeline.errors import UndefinedMetric
from selfai_pipeline.evaluation.bootstrap import Estimate
from selfai_pipeline.evaluation.correlation import Reals
from selfai_pipeline.evaluation.settings import EvaluationSettings
from selfai_pipeline.training.conformal import COVERAGE, Intervals

Flags = npt.NDArray[np.bool_]

PARTS = ("low", "middle", "high")
"""Thirds of the test faces by the model's score: coverage is promised over all of them together only."""


def coverage_facts(
    annotated: Reals,
    predicted: Reals,
    *,
    intervals: Intervals,
    clusters: Sequence[str],
    settings: EvaluationSettings,
) -> dict[str, Any]:
    """Coverage of every calibrated level; JSON values.

    Keys: `coverage`, the level that is shown with a score, and `reason`, why it has no interval; `faces`
    that calibrated; `levels`, each with `coverage`, `half_width` (points, or None), `reason`, `mean_width`
    (points, cut at the ends of the scale) and `covered` (an `Estimate`); `by_score`, for the level that is
    shown, thirds of the faces by the model's score with `part`, `faces`, `lowest`, `highest` and `covered`.

    Args:
        annotated: the crowd's scores, [n].
        predicted: the model's scores, [n].
        clusters: faces that share one count once in the intervals of the coverage, [n].
    """
    units = np.asarray(clusters)
    levels = []
    for level in intervals.levels:
        inside = covers(annotated, predicted, intervals=intervals, coverage=level.coverage)
        width = None
        if level.half_width is not None:
            low, high = intervals.around(predicted, level.coverage)
            width = float(np.mean(high - low))
        covered = share_covered(inside, units, reason=level.reason, settings=settings)
        levels.append(
            {
                "coverage": level.coverage,
                "half_width": level.half_width,
                "reason": level.reason,
                "mean_width": width,
                "covered": covered.to_dict(),
            }
        )
    inside = covers(annotated, predicted, intervals=intervals)
    return {
        "coverage": COVERAGE,
        "reason": intervals.level().reason,
        "faces": intervals.faces,
        "levels": levels,
        "by_score": [] if inside is None else _by_score(predicted, inside, units, settings),
    }


def covers(
    annotated: Reals, predicted: Reals, *, intervals: Intervals, coverage: float = COVERAGE
) -> Flags | None:
    """Whether the interval around each predicted score holds the crowd's, [n]; None without intervals."""
    try:
        low, high = intervals.around(predicted, coverage)
    except UndefinedMetric:
        return None
    return np.asarray((low <= annotated) & (annotated <= high))


def share_covered(
    inside: Flags | None, clusters: npt.NDArray[Any], *, reason: str, settings: EvaluationSettings
) -> Estimate:
    """The share of faces that are covered, with Wilson's interval (1927, JASA 22) over the clusters.

    A bootstrap would give an interval without width where every face is covered.

    Args:
        inside: whether each face is, [n]; None where there are no intervals, for the given reason.
        clusters: a label a face, [n].
    """
    if inside is None:
        return Estimate(None, why_no_value=reason, why_no_interval=reason)
    if not len(inside):
        return Estimate(None, why_no_value="there are no faces", why_no_interval="there are no faces")
    share, units = float(inside.mean()), len(np.unique(clusters))
    if units < settings.interval_least_faces:
        few = f"{units} independent faces are too few, {settings.interval_least_faces} are needed"
        return Estimate(share, why_no_interval=few)
    deviate = float(ndtri((1 + settings.confidence) / 2))
    shrink = 1 + deviate**2 / units
    middle = (share + deviate**2 / (2 * units)) / shrink
    reach = deviate / shrink * np.sqrt(share * (1 - share) / units + deviate**2 / (4 * units**2))
    # Exactly the share where all or none are covered: rounding would leave it just outside its own interval.
    low, high = min(share, float(middle - reach)), max(share, float(middle + reach))
    return Estimate(share, max(0.0, low), min(1.0, high))


def _by_score(
    predicted: Reals, inside: Flags, clusters: npt.NDArray[Any], settings: EvaluationSettings
) -> list[dict[str, Any]]:
    order = np.argsort(predicted, kind="stable")
    parts = []
    for part, rows in zip(PARTS, np.array_split(order, len(PARTS)), strict=True):
        if len(rows):
            covered = share_covered(inside[rows], clusters[rows], reason="", settings=settings)
            parts.append(
                {
                    "part": part,
                    "faces": len(rows),
                    "lowest": float(predicted[rows].min()),
                    "highest": float(predicted[rows].max()),
                    "covered": covered.to_dict(),
                }
            )
    return parts
