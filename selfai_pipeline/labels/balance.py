"""What training draws: rare scores as often as common ones, by classes or by a smoothed density."""

import numpy as np
import numpy.typing as npt

from selfai_pipeline.labels.settings import Balance, LabelSettings
from selfai_pipeline.schemas import CLASSES, SCORE_MAXIMUM, SCORE_MINIMUM

Numbers = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]


def classes_of(scores: Numbers) -> Codes:
    """The score rounded (halves up), int64 in 0..9."""
    clipped = np.clip(scores, SCORE_MINIMUM, SCORE_MAXIMUM)
    return np.floor(clipped + 0.5).astype(np.int64)


def draw_weights(scores: Numbers, settings: LabelSettings) -> Numbers:
    """Probability of a draw of each training face, float64 [n]; they sum to 1.

    Args:
        scores: 0..9, of the training split only.
        settings: `balance` says how rare scores are weighed; the smoothing has a width and a number of bins.
    """
    if settings.balance is Balance.SMOOTHED:
        return smoothed_weights(scores, width=settings.smoothing_width, bins=settings.smoothing_bins)
    if settings.balance is Balance.NONE:
        return np.full(len(scores), 1 / len(scores))
    return class_balanced_weights(classes_of(scores))


def class_balanced_weights(classes: Codes) -> Numbers:
    """Probability of each picture when a class is drawn first, then one of its pictures.

    weight = 1 / (classes present) * 1 / (pictures in the class), float64 [n]; they sum to 1.

    Args:
        classes: int64 [n] in 0..9, of the training split only.
    """
    counts = np.bincount(classes, minlength=CLASSES)
    return 1 / (np.count_nonzero(counts) * counts[classes].astype(np.float64))


def smoothed_weights(scores: Numbers, *, width: float, bins: int) -> Numbers:
    """Probability of each picture by label-distribution smoothing, float64 [n]; they sum to 1.

    weight ~ 1 / density, the density of the scores over equal bins of 0..9 after a Gaussian kernel (Yang,
    Zha, Chen, Wang and Katabi, "Delving into deep imbalanced regression", 2021). So a score counts as common
    where its neighbours are, and no weight jumps at the border of a class. What of the kernel lies beyond an
    end of the scale is shared out over the rest, or the ends would look rarer than they are.

    Args:
        scores: 0..9, of the training split only.
        width: standard deviation of the kernel, in points of the score.
        bins: how many.
    """
    span = SCORE_MAXIMUM - SCORE_MINIMUM
    place = np.clip(((scores - SCORE_MINIMUM) / span * bins).astype(np.int64), 0, bins - 1)
    centre = (np.arange(bins) + 0.5) * span / bins
    kernel = np.exp(-0.5 * np.square((centre[:, None] - centre) / width))
    density = (kernel @ np.bincount(place, minlength=bins)) / kernel.sum(axis=1)
    weights = 1 / density[place]
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def class_counts(classes: Codes) -> dict[str, int]:
    """Faces by class, the empty ones too."""
    counts = np.bincount(classes, minlength=CLASSES).tolist()
    return {str(number): count for number, count in enumerate(counts)}


def draws_by_class(classes: Codes, weights: Numbers) -> dict[str, float]:
    """Share of the draws of training that each class gets, 0..1."""
    shares = np.bincount(classes, weights, minlength=CLASSES).tolist()
    return {str(number): float(share) for number, share in enumerate(shares)}
