"""The linear equations of annotators' biases, with the pictures' scores eliminated from them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Numbers = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

DENSE_ANNOTATORS = 2000
"""Up to so many, the covariance of the biases is computed (32 MB, about a second); beyond, it is sampled."""

DRAWS = 100
"""Draws of a sampled covariance: a variance is known to sqrt(2 / DRAWS), 14 %."""


@dataclass(frozen=True)
class BiasEquations:
    """Weighted least squares on r_ij = psi_j + b_i for I annotators and P pictures, as (M + ridge) b = t:

        M = diag(w_i n_i) - W diag(1 / sum_i W_ij) W',   W_ij = w_i n_ij
        t = w_i (sum_j n_ij r_ij - n_ij m_j),   m_j the weighted mean of picture j

    M is singular: in each connected part of the rating graph biases and scores can be shifted against each
    other. Both with a ridge and without, the solution for t has biases that sum to 0 in each part.

    Attributes:
        times: n_ij [I, P], how many ratings annotator i gave picture j.
        sums: [I, P], their sum.
        component: int64 [I], the connected part of each annotator, 0..parts-1.
    """

    times: "csr_array"
    sums: "csr_array"
    component: Codes
    parts: int

    @classmethod
    def of(cls, picture: Codes, annotator: Codes, rating: Numbers) -> "BiasEquations":
        """The equations of n ratings; codes of pictures and annotators count from 0, each present."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        pictures, annotators = int(picture.max()) + 1, int(annotator.max()) + 1
        ones, shape, corner = np.ones(len(rating)), (annotators, pictures), annotators + pictures
        edges = coo_array((ones, (annotator, annotators + picture)), shape=(corner, corner))
        parts, label = connected_components(edges, directed=False)
        return cls(
            times=coo_array((ones, (annotator, picture)), shape=shape).tocsr(),
            sums=coo_array((rating, (annotator, picture)), shape=shape).tocsr(),
            component=np.asarray(label[:annotators], dtype=np.int64),
            parts=int(parts),
        )

    @property
    def annotators(self) -> int:
        return len(self.component)

    def target(self, weight: Numbers, sums: "csr_array | None" = None) -> Numbers:
        """t under the annotators' weights, of other sums of ratings where they are given."""
        sums = self.sums if sums is None else sums
        means = (sums.T @ weight) / (self.times.T @ weight)
        return np.asarray(weight * (np.asarray(sums.sum(axis=1)).ravel() - self.times @ means))

    def biases(self, target: Numbers, weight: Numbers, *, ridge: float = 0.0, start: Numbers) -> Numbers:
        """b for a right-hand side, by conjugate gradients from `start`."""
        total = self.times.T @ weight
        diagonal = weight * self._ratings_of() + ridge

        def matrix(bias: Numbers) -> Numbers:
            return np.asarray(
                diagonal * bias - weight * (self.times @ ((self.times.T @ (weight * bias)) / total))
            )

        bias = _conjugate_gradients(matrix, target, start, diagonal)
        if ridge:
            return bias
        members = np.bincount(self.component, minlength=self.parts)
        return bias - (np.bincount(self.component, bias, minlength=self.parts) / members)[self.component]

    def scores(self, weight: Numbers, bias: Numbers) -> Numbers:
        """psi: weighted means of the ratings less the biases."""
        return np.asarray((self.sums.T @ weight - self.times.T @ (weight * bias)) / (self.times.T @ weight))

    def shares(self, weight: Numbers) -> "csr_array":
        """a_ij = W_ij / sum_k W_kj [I, P]: how much of picture j's score annotator i makes up."""
        from scipy.sparse import diags_array

        return (diags_array(weight) @ self.times @ diags_array(1 / (self.times.T @ weight))).tocsr()

    def trace(self, weight: Numbers) -> float:
        """Sum of the diagonal of M."""
        squared = self.times.power(2) @ (1 / (self.times.T @ weight))
        return float((weight * (self._ratings_of() - weight * squared)).sum())

    def variance_from_biases(self, weight: Numbers, *, ridge: float) -> Numbers:
        """What the uncertainty of the biases adds to the variance of each score, float64 [P].

        a_j' C a_j - 1 / (I ridge) with C = (M + ridge)^-1, the posterior covariance of biases whose prior
        variance is 1 / ridge; the last term leaves out the level that all scores share. Without a ridge C is
        the pseudo-inverse and there is no last term.
        """
        sample = self.annotators > DENSE_ANNOTATORS
        variance = (self._sampled if sample else self._computed)(weight, ridge)
        return np.maximum(variance, 0.0)

    def _computed(self, weight: Numbers, ridge: float) -> Numbers:
        shares = self.shares(weight)
        matrix = np.diag(weight * self._ratings_of() + ridge)
        matrix -= weight[:, None] * (self.times @ shares.T).toarray()
        covariance = np.linalg.inv(matrix) if ridge else np.linalg.pinv(matrix, hermitian=True)
        columns = shares.T.tocsr()
        # By blocks: the product of all pictures with the covariance would be dense.
        blocks = [columns[first : first + 1000] for first in range(0, columns.shape[0], 1000)]
        variance = np.concatenate([block.multiply(block @ covariance).sum(axis=1) for block in blocks])
        return variance - (1 / (ridge * self.annotators) if ridge else 0.0)

    def _sampled(self, weight: Numbers, ridge: float) -> Numbers:
        """By draws from the covariance C: solutions for right-hand sides whose covariance is M + ridge."""
        generator = np.random.default_rng(0)
        shares = self.shares(weight).T.tocsr()
        row = np.repeat(np.arange(self.annotators), np.diff(self.times.indptr))
        noise = self.times.copy()
        squares = np.zeros(shares.shape[0])
        for _ in range(DRAWS):
            noise.data = np.sqrt(self.times.data / weight[row]) * generator.normal(size=len(row))
            own = np.sqrt(ridge) * generator.normal(size=self.annotators)
            target = self.target(weight, noise) + own
            draw = self.biases(target, weight, ridge=ridge, start=np.zeros(self.annotators))
            squares += (shares @ (draw - draw.mean())) ** 2
        return squares / DRAWS

    def _ratings_of(self) -> Numbers:
        return np.asarray(self.times.sum(axis=1), dtype=np.float64).ravel()


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
