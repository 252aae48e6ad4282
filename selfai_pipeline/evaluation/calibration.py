"""Calibration: whether faces that the model scores alike are, on average, scored so by the crowd."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from selfai_pipeline.evaluation.bootstrap import estimate
from selfai_pipeline.evaluation.correlation import Reals, weighted_mean_annotated, weighted_slope
from selfai_pipeline.evaluation.settings import EvaluationSettings

MOST_BINS = 10
FACES_A_BIN = 15
"""From so many the mean of a bin says something."""


def calibration_facts(
    annotated: Reals, predicted: Reals, *, clusters: Sequence[str], settings: EvaluationSettings
) -> dict[str, Any]:
    """The slope of the crowd's score on the model's, and both means over bins of about as many faces.

    Keys: `slope` (an `Estimate`), and `bins`, by the model's score, with `faces`, `predicted` (mean, points)
    and `annotated` (an `Estimate` of the mean, points). Equal scores of the model stay in one bin.

    Args:
        annotated: the crowd's scores, [n].
        predicted: the model's scores, [n].
        clusters: faces that share one are resampled together, [n].
    """
    units = np.asarray(clusters)
    slope = estimate(
        weighted_slope, annotated, predicted, clusters=units, correlation=True, settings=settings
    )
    wanted = int(np.clip(len(predicted) // FACES_A_BIN, 1, MOST_BINS))
    edges = np.quantile(predicted, np.arange(1, wanted) / wanted)
    bin_of = np.searchsorted(edges, predicted, side="right")
    bins = []
    for number in np.unique(bin_of):
        rows = np.flatnonzero(bin_of == number)
        crowd = estimate(
            weighted_mean_annotated, annotated[rows], predicted[rows], clusters=units[rows], settings=settings
        )
        bins.append(
            {
                "faces": len(rows),
                "predicted": float(predicted[rows].mean()),
                "annotated": crowd.to_dict(),
            }
        )
    return {"slope": slope.to_dict(), "bins": bins}
