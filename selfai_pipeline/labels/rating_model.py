"""Scores of pictures from single ratings, with each annotator's bias and inconsistency taken out.

The model is that of SUREAL (Li and Bampis, "Recover subjective quality scores from noisy measurements", 2017;
ITU-T P.913, 12.6): r_ij = psi_j + b_i + v_i e_ij with standard normal e_ij, for picture j and annotator i.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

logger = logging.getLogger("selfai.labels")

SMALLEST_INCONSISTENCY = 0.03
"""Floor of v_i on the scale 0..9, so that ratings without any disagreement do not get infinite weight."""


@dataclass(frozen=True)
class RatingModel:
    """A fitted rating model of P pictures and I annotators.

    Attributes:
        score: psi, float64 [P]; within each connected part of the rating graph the biases sum to 0.
        standard_error: of psi, float64 [P], given biases and inconsistencies; NaN where it cannot be known
            because no picture has ratings to spare.
        bias: b, float64 [I]; positive for a generous annotator.
        inconsistency: v, float64 [I]; NaN as above.
        component: int64 [I], the connected part that each annotator belongs to. Scores of different parts are
            comparable only as far as their annotators are equally generous on average.
        rounds: how often inconsistencies were estimated anew.
        converged: whether scores changed by less than the tolerance in the last round.
    """

    score: Numbers
    standard_error: Numbers
    bias: Numbers
    inconsistency: Numbers
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
    prior: float = 4.0,
    tolerance: float = 1e-6,
    most_rounds: int = 500,
) -> RatingModel:
    """Estimate scores, biases and inconsistencies.

    Scores and biases are the weighted least-squares solution under w_i = 1 / v_i^2, solved to the end in each
    round (conjugate gradients on the biases), so that a sparse graph converges as well as a dense one. Then

        v_i^2 = (SS_i + prior * s^2) / (d_i + prior),   SS_i = sum_j (r_ij - psi_j - b_i)^2
        d_i = n_i in plain maximum likelihood,
        d_i = (1 - 1 / n_i) sum_j (1 - w_i / sum_k w_k) in restricted maximum likelihood (exact where every
              annotator rates every picture, close to it elsewhere),

    where s^2 is the residual variance of the fit with equal weights. Plain likelihood has no maximum with few
    ratings a picture (the scores follow one annotator, whose v_i goes to 0): the prior keeps it bounded. And
    it takes the estimated scores for true ones: with two ratings a picture it finds half the variance.

    Args:
        picture: int64 [n], 0..P-1, each present.
        annotator: int64 [n], 0..I-1, each present.
        rating: float64 [n].
        restricted: restricted maximum likelihood instead of plain.
        prior: ratings' worth of the pooled variance that are added to each annotator's; 0 or more.
        tolerance: on the scale of the ratings, for the change of every score in a round.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pictures, annotators = int(picture.max()) + 1, int(annotator.max()) + 1
    shape = (annotators, pictures)
    times = coo_array((np.ones(len(rating)), (annotator, picture)), shape=shape).tocsr()
    sums = coo_array((rating, (annotator, picture)), shape=shape).tocsr()
    ratings_of = np.bincount(annotator, minlength=annotators).astype(np.float64)

    corner = annotators + pictures
    edges = coo_array((np.ones(len(rating)), (annotator, annotators + picture)), shape=(corner, corner))
    parts, label = connected_components(edges, directed=False)
    component = np.asarray(label[:annotators], dtype=np.int64)
    members = np.bincount(component, minlength=parts)

    def solve(weight: Numbers, start: Numbers) -> tuple[Numbers, Numbers]:
        """Scores and biases under the annotators' weights; each part's biases sum to 0."""
        total = times.T @ weight
        plain = (sums.T @ weight) / total
        target = weight * (np.asarray(sums.sum(axis=1)).ravel() - times @ plain)
        diagonal = weight * ratings_of

        def matrix(bias: Numbers) -> Numbers:
            return np.asarray(diagonal * bias - weight * (times @ ((times.T @ (weight * bias)) / total)))

        bias = _conjugate_gradients(matrix, target, start, diagonal)
        bias = bias - (np.bincount(component, bias, minlength=parts) / members)[component]
        return np.asarray((sums.T @ weight - times.T @ (weight * bias)) / total), bias

    def squares(score: Numbers, bias: Numbers) -> Numbers:
        residual = rating - score[picture] - bias[annotator]
        return np.bincount(annotator, residual**2, minlength=annotators).astype(np.float64)

    weight = np.ones(annotators)
    score, bias = solve(weight, np.zeros(annotators))
    freedom = len(rating) - pictures - annotators + parts
    if freedom <= 0:
        nothing = np.full(annotators, np.nan)
        return RatingModel(score, np.full(pictures, np.nan), bias, nothing, component, 0, True)
    pooled = float(squares(score, bias).sum()) / (freedom if restricted else len(rating))
    variance = np.full(annotators, max(pooled, SMALLEST_INCONSISTENCY**2))

    rounds, change = 0, np.inf
    while rounds < most_rounds and change >= tolerance:
        rounds += 1
        degrees = ratings_of
        if restricted:
            weight = 1 / variance
            degrees = (1 - 1 / ratings_of) * (ratings_of - weight * (times @ (1 / (times.T @ weight))))
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
    standard_error = 1 / np.sqrt(times.T @ (1 / variance))
    return RatingModel(
        score=score,
        standard_error=np.asarray(standard_error),
        bias=bias,
        inconsistency=np.sqrt(variance),
        component=component,
        rounds=rounds,
        converged=change < tolerance,
    )


def _conjugate_gradients(
    matrix: Callable[[Numbers], Numbers], target: Numbers, start: Numbers, diagonal: Numbers
) -> Numbers:
    """Solve `matrix(x) = target` for a positive semi-definite matrix whose range holds the target."""
    solution = start
    residual = target - matrix(solution)
    # Rounding of the right-hand side is the best that can be reached.
    enough = 1e-12 * float(np.abs(diagonal).max()) * (1 + float(np.abs(solution).max()))
    scaled = residual / diagonal
    direction = scaled
    size = float(residual @ scaled)
    for _ in range(4 * len(target) + 20):
        if float(np.abs(residual).max()) <= enough or size <= 0:
            break
        image = matrix(direction)
        curvature = float(direction @ image)
        if curvature <= 0:
            break
        step = size / curvature
        solution = solution + step * direction
        residual = residual - step * image
        scaled = residual / diagonal
        previous, size = size, float(residual @ scaled)
        direction = scaled + (size / previous) * direction
    return solution
