"""More figures of agreement: intraclass correlations, Krippendorff's alpha, an annotator and the rest."""

from dataclasses import dataclass

import numpy as np

from selfai_pipeline.errors import UndefinedMetric
from selfai_pipeline.labels.bias_equations import BiasEquations, Codes, Numbers


@dataclass(frozen=True)
class TwoWay:
    """Variance of ratings in parts: of pictures, of annotators' biases, and the rest.

    `ratings_a_picture` is the harmonic mean, so that the variance of a mean over a picture's ratings is on
    average a part's over it.
    """

    picture: float
    annotator: float
    residual: float
    ratings_a_picture: float

    @property
    def single(self) -> float:
        """ICC(2,1): how far two single ratings agree, biases counting as disagreement."""
        return self._share(1.0)

    @property
    def average(self) -> float:
        """ICC(2,k): the same of two means over k ratings each."""
        return self._share(self.ratings_a_picture)

    def _share(self, ratings: float) -> float:
        return self.picture / (self.picture + (self.annotator + self.residual) / ratings)


def two_way_components(picture: Codes, annotator: Codes, rating: Numbers) -> TwoWay:
    """Variance components of two-way random effects without interaction.

    Henderson's method 3 (Searle, Casella and McCulloch, "Variance Components", 1992), which asks for no
    complete table: what pictures explain beyond annotators, annotators beyond pictures, and neither, each set
    to its expectation. Where every annotator rated every picture it is the analysis of variance of Shrout and
    Fleiss ("Intraclass correlations", 1979), and so are the ICC.

    Args:
        picture: int64 [n], 0..P-1, each present.
        annotator: int64 [n], 0..I-1, each present.
        rating: float64 [n].

    Raises:
        UndefinedMetric: too few ratings to tell pictures from annotators, or all ratings equal.
    """
    equations = BiasEquations.of(picture, annotator, rating)
    annotators, pictures = equations.times.shape
    freedom = len(rating) - pictures - annotators + equations.parts
    if freedom <= 0:
        raise UndefinedMetric("too few ratings to tell pictures from annotators")
    even = np.ones(annotators)
    bias = equations.biases(equations.target(even), even, start=np.zeros(annotators))
    left = rating - equations.scores(even, bias)[picture] - bias[annotator]
    unexplained = float(left @ left)
    residual = unexplained / freedom
    parts = []
    for codes, levels, trace in (
        (picture, annotators, equations.trace(even)),
        (annotator, pictures, _trace_of_pictures(equations)),
    ):
        counts = np.bincount(codes)
        off = rating - (np.bincount(codes, rating) / counts)[codes]
        explained = float(off @ off) - unexplained
        parts.append((explained - (levels - equations.parts) * residual) / trace)
    of_annotators, of_pictures = parts
    if of_pictures + of_annotators + residual <= 1e-12:
        raise UndefinedMetric("all ratings are equal")
    harmonic = pictures / float((1 / np.bincount(picture)).sum())
    return TwoWay(of_pictures, of_annotators, residual, harmonic)


def _trace_of_pictures(equations: BiasEquations) -> float:
    """As `BiasEquations.trace`, with annotators eliminated in place of pictures."""
    times = equations.times
    ratings_of = np.asarray(times.sum(axis=1)).ravel()
    return float(times.sum() - (np.asarray(times.power(2).sum(axis=1)).ravel() / ratings_of).sum())


def krippendorff_alpha(picture: Codes, rating: Numbers) -> float:
    """Krippendorff's alpha for interval data, 1 - observed over expected disagreement: 0 is chance.

    Pictures with one rating are left out. Over the n others, with the sums of squares SS_j of n_j ratings
    around their picture's mean and SS around the mean of all:

        alpha = 1 - (sum_j n_j SS_j / (n_j - 1) / n) / (SS / (n - 1))

    (Krippendorff, "Content Analysis", 2004; the usual sums over pairs, written as variances.)

    Raises:
        UndefinedMetric: no picture has two ratings, or all ratings of those are equal.
    """
    counts = np.bincount(picture)
    paired = counts[picture] >= 2
    if not paired.any():
        raise UndefinedMetric("no picture has two ratings")
    _, code = np.unique(picture[paired], return_inverse=True)
    values, counts = rating[paired], np.bincount(code)
    around = values - (np.bincount(code, values) / counts)[code]
    observed = float((counts * np.bincount(code, around**2) / (counts - 1)).sum()) / len(values)
    expected = float(np.var(values, ddof=1))
    if expected <= 0:
        raise UndefinedMetric("all ratings are equal")
    return 1 - observed / expected


def rater_against_rest(picture: Codes, annotator: Codes, rating: Numbers, *, least_ratings: int) -> Numbers:
    """Correlation of each annotator's ratings with the mean of all others' on the same pictures.

    Returns:
        float64 [annotators], those with `least_ratings` pictures that others rated too and for whom neither
        side is constant; in the order of their codes.

    Raises:
        UndefinedMetric: there is no such annotator.
    """
    key = picture * (int(annotator.max()) + 1) + annotator
    pairs, index = np.unique(key, return_inverse=True)
    mine, own_sum = np.bincount(index).astype(np.float64), np.bincount(index, rating)
    pair_picture, who = np.divmod(pairs, int(annotator.max()) + 1)
    count, total = np.bincount(picture), np.bincount(picture, rating)
    others = count[pair_picture] - mine
    shared = others > 0
    pair_picture, who, own = pair_picture[shared], who[shared], (own_sum / mine)[shared]
    rest = ((total[pair_picture] - own_sum[shared]) / others[shared]).astype(np.float64)
    number = np.bincount(who, minlength=1).astype(np.float64)

    def around(values: Numbers) -> Numbers:
        return np.asarray(values - (np.bincount(who, values) / np.maximum(number, 1))[who])

    x, y = around(own), around(rest)
    spread = np.sqrt(np.bincount(who, x * x, minlength=1) * np.bincount(who, y * y, minlength=1))
    known = (number >= max(least_ratings, 3)) & (spread > 1e-9)
    if not known.any():
        raise UndefinedMetric(f"nobody has rated {least_ratings} pictures that others rated too")
    return np.asarray((np.bincount(who, x * y, minlength=1) / np.maximum(spread, 1e-9))[known])
