"""Annotators whose ratings carry no signal: as good as random, constant, or against everybody else's."""

import math

import numpy as np
import numpy.typing as npt

from selfai_pipeline.labels.bias_equations import Codes, Numbers
from selfai_pipeline.labels.rating_model import RatingModel

ONE_SIDED_5_PERCENT = 1.645


def annotators_without_signal(
    picture: Codes, annotator: Codes, rating: Numbers, model: RatingModel, *, least_ratings: int, odds: float
) -> npt.NDArray[np.bool_]:
    """Which annotators' ratings follow the others' scores no better than chance would.

    r_i is the correlation of an annotator's ratings with the scores that the other annotators alone give
    (their bias and inconsistency taken out). On Fisher's scale z = atanh(r) it is normal with variance
    1 / (n_i - 3); a typical annotator has the median z_t. Flagged is who has `least_ratings` such ratings or
    more, is not above 0 at 5 % (one-sided), and whose z is `odds` times as likely around 0 as around z_t:

        (n_i - 3) z_t (z_t - 2 z_i) / 2 > log(odds)

    Ratings that are all the same have no correlation and count as r_i = 0.

    Returns:
        bool [I].
    """
    annotators = len(model.bias)
    weight = 1 / np.square(np.where(np.isnan(model.inconsistency), 1.0, model.inconsistency))
    total = np.bincount(picture, weight[annotator])
    others = total[picture] - weight[annotator]
    shared = others > 1e-9 * total[picture]
    picture, annotator, rating, others = picture[shared], annotator[shared], rating[shared], others[shared]
    own = weight[annotator] * (rating - model.bias[annotator])
    rest = (total[picture] * model.score[picture] - own) / others

    def summed(values: Numbers) -> Numbers:
        return np.bincount(annotator, values, minlength=annotators).astype(np.float64)

    count = np.bincount(annotator, minlength=annotators).astype(np.float64)
    safe = np.maximum(count, 1)
    x = rating - (summed(rating) / safe)[annotator]
    y = rest - (summed(rest) / safe)[annotator]
    spread = np.sqrt(summed(x * x) * summed(y * y))
    correlation = np.where(spread > 1e-9, summed(x * y) / np.maximum(spread, 1e-9), 0.0)
    z = np.arctanh(np.clip(correlation, -0.999, 0.999))
    tested = count >= max(least_ratings, 5)
    if not tested.any():
        return np.zeros(annotators, dtype=bool)
    typical = float(np.median(z[tested]))
    if typical <= 0:
        return np.zeros(annotators, dtype=bool)
    freedom = np.maximum(count - 3, 1)
    unlikely = freedom * typical * (typical - 2 * z) / 2 > math.log(odds)
    return np.asarray(tested & unlikely & (z * np.sqrt(freedom) < ONE_SIDED_5_PERCENT))
