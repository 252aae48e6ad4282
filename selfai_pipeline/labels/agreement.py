"""How far annotators agree, and from it how far any model can correlate with their scores."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from selfai_pipeline.errors import UndefinedMetric
from selfai_pipeline.labels.bias_equations import Codes, Numbers


@dataclass(frozen=True)
class OneWay:
    """Variance of ratings in parts: between pictures, and between the ratings of one picture."""

    between: float
    within: float


def one_way_components(picture: Codes, rating: Numbers) -> OneWay:
    """Variance components of one-way random effects, by analysis of variance.

    With unequal numbers of ratings n_0 = (n - sum n_j^2 / n) / (P - 1) stands for the number a picture
    (Searle, Casella and McCulloch, "Variance Components", 1992). `between` is below 0 where ratings of one
    picture differ more than those of different ones.

    Args:
        picture: int64 [n], 0..P-1, each present.
        rating: float64 [n].

    Raises:
        UndefinedMetric: fewer than two pictures, or no picture with two ratings.
    """
    counts = np.bincount(picture).astype(np.float64)
    n, pictures = float(len(rating)), len(counts)
    if pictures < 2 or n <= pictures:
        raise UndefinedMetric("no picture has two ratings" if pictures > 1 else "fewer than two pictures")
    means = np.bincount(picture, rating) / counts
    between = float((counts * (means - rating.mean()) ** 2).sum()) / (pictures - 1)
    within = float(((rating - means[picture]) ** 2).sum()) / (n - pictures)
    usual = (n - float((counts**2).sum()) / n) / (pictures - 1)
    return OneWay(between=(between - within) / usual, within=within)


def two_raters_correlation(picture: Codes, rating: Numbers) -> float:
    """Expected correlation of two ratings of one picture by two random annotators: ICC(1,1).

    One-way random effects (Shrout and Fleiss, 1979), see `one_way_components`. Annotators' biases count as
    disagreement.

    Args:
        picture: int64 [n], 0..P-1, each present.
        rating: float64 [n].

    Raises:
        UndefinedMetric: fewer than two pictures, no picture with two ratings, or all ratings equal.
    """
    parts = one_way_components(picture, rating)
    if parts.between + parts.within <= 0:
        raise UndefinedMetric("all ratings are equal")
    return parts.between / (parts.between + parts.within)


def split_half_reliability(picture: Codes, rating: Numbers, *, seed: int = 0, repeats: int = 20) -> float:
    """Reliability of the pictures' mean rating: correlation of two random halves, by Spearman-Brown.

    Each picture's ratings are dealt to two halves (an odd one over goes to the first), the halves' means are
    correlated over the pictures that have two ratings or more; their mean r gives 2 r / (1 + r).

    Raises:
        UndefinedMetric: fewer than three pictures have two ratings, a half has equal means only, or the
            halves do not agree at all (mean r of 0 or less).
    """
    generator = np.random.default_rng(seed)
    # The same ratings in another order are dealt to the same halves.
    in_order = np.lexsort((rating, picture))
    picture, rating = picture[in_order], rating[in_order]
    counts = np.bincount(picture)
    enough = counts >= 2
    if enough.sum() < 3:
        raise UndefinedMetric("fewer than three pictures have two ratings")
    starts = np.cumsum(counts) - counts
    correlations = []
    dealt = (np.arange(len(rating)) - starts[picture]) % 2
    for _ in range(repeats):
        # Pictures are in order: adding 0..1 shuffles within each of them alone.
        shuffled = rating[np.argsort(picture + generator.random(len(rating)))]
        means = []
        for side in (0, 1):
            mine = dealt == side
            total = np.bincount(picture[mine], shuffled[mine], minlength=len(counts))
            means.append(total[enough] / ((counts[enough] + 1 - side) // 2))
        if min(float(np.ptp(side)) for side in means) == 0:
            raise UndefinedMetric("all pictures have the same mean rating")
        correlations.append(float(np.corrcoef(means[0], means[1])[0, 1]))
    r = float(np.mean(correlations))
    if r <= 0:
        raise UndefinedMetric(
            f"halves of the ratings do not agree (r = {r:.2f}); the scale of an annotator may be reversed"
        )
    return 2 * r / (1 + r)


def reliability_of_scores(score: Numbers, standard_error: Numbers) -> float:
    """Share of the scores' variance that is not error: rho = var(psi) / (var(psi) + mean SE^2), 0..1.

    psi are the true scores. Those that were estimated vary by the error more, so var(psi) is taken as their
    variance less the mean SE^2 (0 where that is negative). Pictures of one annotator share the error of their
    bias, and what all pictures share does not add to the scores' variance: with errors of covariance S that
    is the mean of all of S, which the formula counts as noise. The standard errors of the rating model leave
    out the level that all scores have in common, so that this mean is near 0 (tests hold the ceiling that
    follows to 0.02 of the correlation that true scores reach).

    Args:
        score: float64 [n], estimated scores.
        standard_error: float64 [n], theirs; none may be NaN.

    Raises:
        UndefinedMetric: fewer than two scores, or all equal.
    """
    if len(score) < 2:
        raise UndefinedMetric("fewer than two scores have a standard error")
    observed = float(np.var(score, ddof=1))
    if observed == 0:
        raise UndefinedMetric("all scores are equal")
    return max(0.0, 1 - float(np.mean(standard_error**2)) / observed)


def noise_ceiling(reliability: float) -> float:
    """The most that a model's Pearson correlation with the observed scores can be expected to reach.

    sqrt(rho): perfect predictions of the true scores correlate that much with scores of reliability rho.
    """
    return math.sqrt(reliability)


def ceiling_facts(
    scores: Sequence[float] | Numbers,
    standard_errors: Sequence[float | None] | Numbers,
    *,
    has_single_ratings: bool,
) -> dict[str, Any]:
    """Reliability and noise ceiling over the scores whose standard error is known, or why there is none.

    Args:
        scores: n of them.
        standard_errors: theirs; None or NaN where one is not known.
        has_single_ratings: whether there were any beside means, in this table or the one that it is part of.

    Returns:
        `reliability` and `noise_ceiling` (0..1, None where not known) and `noise_ceiling_reason`, which says
        what they stand on or why they are not known.
    """
    score, error = np.asarray(scores, dtype=np.float64), np.asarray(standard_errors, dtype=np.float64)
    known = ~np.isnan(error)
    unknown: dict[str, Any] = {"reliability": None, "noise_ceiling": None}
    if not known.any():
        reason = (
            "no picture has two ratings"
            if has_single_ratings
            else "only means were given, without single ratings that would show how far annotators differ"
        )
        return {**unknown, "noise_ceiling_reason": reason}
    try:
        reliability = reliability_of_scores(score[known], error[known])
    except UndefinedMetric as undefined:
        return {**unknown, "noise_ceiling_reason": str(undefined)}
    return {
        "reliability": reliability,
        "noise_ceiling": noise_ceiling(reliability),
        "noise_ceiling_reason": f"from the standard errors of {int(known.sum())} of {len(score)} faces",
    }
