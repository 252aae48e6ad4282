"""Class balance: every class is drawn equally often in training, and every picture of a class."""

import numpy as np
import numpy.typing as npt

from selfai_pipeline.schemas import CLASSES, SCORE_MAXIMUM, SCORE_MINIMUM


def classes_of(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The score rounded (halves up), int64 in 0..9."""
    clipped = np.clip(scores, SCORE_MINIMUM, SCORE_MAXIMUM)
    return np.floor(clipped + 0.5).astype(np.int64)


def class_balanced_weights(classes: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Probability of each picture when a class is drawn first, then one of its pictures.

    weight = 1 / (classes present) * 1 / (pictures in the class), float64 [n]; they sum to 1.

    Args:
        classes: int64 [n] in 0..9, of the training split only.
    """
    counts = np.bincount(classes, minlength=CLASSES)
    return 1 / (np.count_nonzero(counts) * counts[classes].astype(np.float64))
