"""Which faces stand for a model: the highest, the lowest, the middle and the worst predicted."""

import numpy as np
import numpy.typing as npt

from selfai_pipeline.evaluation.correlation import Reals

Rows = npt.NDArray[np.int64]


def highest_and_lowest(predicted: Reals, most: int) -> tuple[Rows, Rows]:
    """Rows of the `most` highest and lowest scores, from the outside in; no face is in both.

    Equal scores keep the order of their rows.
    """
    down = np.argsort(-predicted, kind="stable")
    top = min(most, (len(down) + 1) // 2)
    bottom = min(most, len(down) - top)
    return down[:top], down[::-1][:bottom]


def middle(predicted: Reals, most: int) -> Rows:
    """Rows of the `most` scores around the median, from high to low."""
    down = np.argsort(-predicted, kind="stable")
    start = max(0, (len(down) - most) // 2)
    return np.asarray(down[start : start + most])


def worst_errors(annotated: Reals, predicted: Reals, most: int) -> Rows:
    """Rows with the largest |predicted - annotated|, largest first."""
    return np.argsort(-np.abs(predicted - annotated), kind="stable")[:most]


def spread_evenly(predicted: Reals, most: int) -> Rows:
    """At most `most` rows, evenly spaced over the ranks of the scores, highest first."""
    down = np.argsort(-predicted, kind="stable")
    if most <= 0 or not len(down):
        return down[:0]
    places = np.linspace(0, len(down) - 1, min(most, len(down)))
    return np.asarray(down[np.rint(places).astype(np.int64)])
