"""Scores of pictures from single ratings, with each annotator's bias and inconsistency taken out.

The model is that of SUREAL (Li and Bampis, "Recover subjective quality scores from noisy measurements", 2017;
ITU-T P.913, 12.6): r_ij = psi_j + b_i + v_i e_ij with standard normal e_ij, for picture j and annotator i.
Biases are random effects besides, b_i ~ N(0, tau^2): an annotator of a few ratings is taken for an average
one, as far as the ratings do not say otherwise (Henderson, 1975; Searle, Casella and McCulloch, "Variance
Components", 1992).
"""

import logging
import math
from dataclasses import dataclass

import numpy as np

from selfai_pipeline.labels.bias_equations import BiasEquations, Codes, Numbers

logger = logging.getLogger("selfai.labels")

SMALLEST_INCONSISTENCY = 0.03
"""Floor of v_i on the scale 0..9, so that ratings without any disagreement do not get infinite weight."""


@dataclass(frozen=True)
class RatingModel:
    """A fitted rating model of P pictures and I annotators.

    Attributes:
        score: psi, float64 [P], as the average of these annotators would give it; within each connected part
            of the rating graph the biases sum to 0.
        standard_error: of psi, float64 [P], with the uncertainty of biases and inconsistencies; NaN where it
            cannot be known because no picture has ratings to spare.
        bias: b, float64 [I]; positive for a generous annotator. Shrunk towards 0 the more, the less is known.
        inconsistency: v, float64 [I]; NaN as above.
        bias_deviation: tau, the standard deviation of annotators' biases; NaN as above and where biases are
            not shrunk.
        component: int64 [I], the connected part that each annotator belongs to. How far apart the levels of
            two parts are is not in the data: it is taken for 0, and the standard errors allow for it.
        rounds: how often inconsistencies were estimated anew.
        converged: whether scores changed by less than the tolerance in the last round.
    """

    score: Numbers
    standard_error: Numbers
    bias: Numbers
    inconsistency: Numbers
    bias_deviation: float
    component: Codes
    rounds: int
    converged: bool

    @property
    def components(self) -> int:
        return int(self.component.max()) + 1


def fit_rating_model(
    picture: Codes,
    annotator: Codes,
    rating: Numbers,
    *,
    restricted: bool = True,
    shrink: bool = True,
    prior: float = 8.0,
    tolerance: float = 1e-6,
    most_rounds: int = 500,
) -> RatingModel:
    """Estimate inconsistencies, and with them biases and scores.

    Inconsistencies: scores and biases are the weighted least-squares solution under w_i = 1 / v_i^2, solved
    to the end in each round (conjugate gradients on the biases), so that a sparse graph converges as well as
    a dense one. Then

        v_i^2 = (SS_i + prior * s^2) / (d_i + prior),   SS_i = sum_j (r_ij - psi_j - b_i)^2
        d_i = n_i in plain maximum likelihood,
        d_i ~ (1 - 1 / n_i) sum_j (1 - w_i / sum_k w_k) in restricted maximum likelihood, scaled so that they
              sum to the degrees of freedom, n - P - I + connected parts (exact where every annotator rates
              every picture, close to it elsewhere),

    where s^2 is the residual variance of the fit with equal weights. Plain likelihood has no maximum with few
    ratings a picture (the scores follow one annotator, whose v_i goes to 0): the prior keeps it bounded. And
    it takes the estimated scores for true ones: with two ratings a picture it finds half the variance.

    Biases: with the matrix M of `BiasEquations` and its solution b without a ridge, tau^2 is the value for
    which b'Mb is as large as expected, (b'Mb - (I - connected parts)) / tr M and 0 at least (Henderson's
    method 3); the biases are then solved again with the ridge 1 / tau^2. Nothing is gained where all
    annotators are equally generous and consistent: the scores' error is then up to 2 % above that of the
    plain mean.

    Standard errors, with a_ij = w_i n_ij / sum_k w_k n_kj and C = (M + 1 / tau^2)^-1:

        SE_j^2 = (1 + 4 sum_i a_ij (1 - a_ij) d_i / (d_i + prior)^2) / sum_i w_i n_ij
                 + a_j' C a_j - tau^2 / I

    The first term is the error of a weighted mean whose weights are estimated (Meier, "Variance of a weighted
    mean", 1953, with the variance of an estimate that the prior holds), the second that of the biases, and
    the last leaves out the level that all scores share. In simulated crowds with inconsistencies of 0.6 to
    1.6, which real ones resemble, the true errors are 0.93 to 1.07 of these, from 5 ratings an annotator on;
    0.9 to 1 where inconsistencies differ far more, as the prior then makes the best annotators look worse.

    Args:
        picture: int64 [n], 0..P-1, each present.
        annotator: int64 [n], 0..I-1, each present.
        rating: float64 [n].
        restricted: restricted maximum likelihood instead of plain.
        shrink: biases as random effects; off, they are fixed ones as in SUREAL.
        prior: ratings' worth of the pooled variance that are added to each annotator's; 0 or more.
        tolerance: on the scale of the ratings, for the change of every score in a round.
    """
    equations = BiasEquations.of(picture, annotator, rating)
    times = equations.times
    annotators, pictures = times.shape
    ratings_of = np.bincount(annotator, minlength=annotators).astype(np.float64)

    def squares(score: Numbers, bias: Numbers) -> Numbers:
        residual = rating - score[picture] - bias[annotator]
        return np.bincount(annotator, residual**2, minlength=annotators).astype(np.float64)

    def solve(weight: Numbers, start: Numbers) -> tuple[Numbers, Numbers]:
        bias = equations.biases(equations.target(weight), weight, start=start)
        return equations.scores(weight, bias), bias

    even, nothing = np.ones(annotators), np.zeros(annotators)
    freedom = len(rating) - pictures - annotators + equations.parts
    if freedom <= 0:
        return RatingModel(
            score=equations.scores(even, nothing),
            standard_error=np.full(pictures, np.nan),
            bias=nothing,
            inconsistency=np.full(annotators, np.nan),
            bias_deviation=math.nan,
            component=equations.component,
            rounds=0,
            converged=True,
        )
    score, bias = solve(even, nothing)
    pooled = float(squares(score, bias).sum()) / (freedom if restricted else len(rating))
    variance = np.full(annotators, max(pooled, SMALLEST_INCONSISTENCY**2))

    rounds, change, degrees = 0, np.inf, ratings_of
    while rounds < most_rounds and change >= tolerance:
        rounds += 1
        if restricted:
            weight = 1 / variance
            degrees = (1 - 1 / ratings_of) * (ratings_of - weight * (times @ (1 / (times.T @ weight))))
            degrees = degrees * (freedom / degrees.sum())
        updated = (squares(score, bias) + prior * pooled) / np.maximum(degrees + prior, 1e-9)
        updated = np.maximum(updated, SMALLEST_INCONSISTENCY**2)
        before = score
        score, bias = solve(1 / updated, bias)
        # Inconsistencies settle last where many annotators share a picture: watch both.
        moved = np.abs(np.sqrt(updated) - np.sqrt(variance)).max()
        change = max(float(np.abs(score - before).max()), float(moved))
        variance = updated
    if change >= tolerance:
        logger.warning("the rating model still moved by %.2g after %d rounds", change, rounds)

    weight = 1 / variance
    ridge, deviation = 0.0, math.nan
    if shrink:
        target = equations.target(weight)
        excess = max(0.0, float(bias @ target) - (annotators - equations.parts))
        deviation = math.sqrt(max(excess / max(equations.trace(weight), 1e-9), 1e-6 * pooled, 1e-12))
        ridge = 1 / deviation**2
        bias = equations.biases(target, weight, ridge=ridge, start=bias)
        score = equations.scores(weight, bias)
    shares = equations.shares(weight)
    unsure = 4 * degrees / np.maximum(degrees + prior, 1e-9) ** 2
    noise = (1 + shares.T @ unsure - shares.power(2).T @ unsure) / (times.T @ weight)
    return RatingModel(
        score=score,
        standard_error=np.sqrt(noise + equations.variance_from_biases(weight, ridge=ridge)),
        bias=bias,
        inconsistency=np.sqrt(variance),
        bias_deviation=deviation,
        component=equations.component,
        rounds=rounds,
        converged=change < tolerance,
    )
