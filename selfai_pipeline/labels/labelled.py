"""What a label table says of each rated face: score, class, side and weight, and whether it can be used."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from selfai_pipeline.errors import InputError
from selfai_pipeline.labels.balance import class_counts, classes_of, draw_weights, draws_by_class
from selfai_pipeline.labels.scores import PictureScore
from selfai_pipeline.labels.settings import LabelSettings
from selfai_pipeline.labels.splits import Split
from selfai_pipeline.schemas import SCORE_MAXIMUM, SCORE_MINIMUM

Numbers = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Texts = npt.NDArray[np.str_]


@dataclass(frozen=True)
class Labels:
    """What is known of the n rated faces, in the order of the table."""

    scores: Numbers
    standard_errors: list[float | None]
    classes: Codes
    splits: Texts
    weights: Numbers


def labelled(
    voices: list[PictureScore],
    sides: list[Split | None],
    settings: LabelSettings,
    *,
    left_out: Counter[str],
) -> Labels:
    """Scores on the scale, classes, sides and weights.

    Raises:
        InputError: nothing could be trained or evaluated on them.
    """
    scores = np.clip([one.score for one in voices], SCORE_MINIMUM, SCORE_MAXIMUM).astype(np.float64)
    classes = classes_of(scores)
    splits = np.array([str(side) for side in sides], dtype=np.str_)
    _check(classes, splits, left_out=left_out, settings=settings)
    weights, train = np.zeros(len(scores)), splits == Split.TRAIN
    weights[train] = draw_weights(scores[train], settings)
    return Labels(scores, [one.standard_error for one in voices], classes, splits, weights)


def _check(classes: Codes, splits: Texts, *, left_out: Counter[str], settings: LabelSettings) -> None:
    """Raises InputError where nothing could be trained or evaluated on the table."""
    if len(set(classes.tolist())) == 1:
        raise InputError(
            f"all {len(classes)} are of class {classes[0]}",
            where="classes of the rated faces",
            mend="Two classes at least are needed: check the scale of the ratings (minimum, maximum).",
        )
    for side in Split:
        count = int((splits == side).sum())
        if count < settings.least_rows:
            raise InputError(
                f"only {count} of {len(classes)} fall to {side}, where {settings.least_rows} are needed "
                f"(pictures left out: {in_words(left_out)})",
                where="splits of the rated faces",
                mend="Add rated pictures, change the shares of the splits, or, where the files give a split, "
                f"give {settings.least_rows} of {side} there too (or set split_column empty).",
            )
    trained = set(classes[splits == Split.TRAIN].tolist())
    if len(trained) == 1:
        raise InputError(
            f"all of the training split are of class {min(trained)}",
            where="classes of the rated faces",
            mend="Add rated pictures of other classes, or change the shares of the splits.",
        )


def label_counts(labels: Labels) -> dict[str, Any]:
    """How many faces fall to each split and class, and how often training draws each class."""
    of = {str(side): labels.splits == side for side in Split}
    train = of[Split.TRAIN]
    return {
        "counts": {side: int(mine.sum()) for side, mine in of.items()},
        "class_counts": class_counts(labels.classes),
        "train_class_counts": class_counts(labels.classes[train]),
        "train_class_draws": draws_by_class(labels.classes[train], labels.weights[train]),
        "score_by_split": {
            side: {
                "mean": float(labels.scores[mine].mean()),
                "standard_deviation": float(labels.scores[mine].std()),
            }
            for side, mine in of.items()
        },
    }


def in_words(left_out: Counter[str]) -> str:
    return ", ".join(f"{n} {reason}" for reason, n in sorted(left_out.items()) if n) or "none"
