"""Figures of an epoch: correlation, and a linear probe of embeddings."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selfai_pipeline.errors import UndefinedMetric

Vector = NDArray[np.float64]
PENALTIES = tuple(float(value) for value in np.logspace(-2, 4, 13))


def pearson(predicted: Vector, annotated: Vector) -> float:
    """Pearson's correlation of two vectors [n].

    Raises:
        UndefinedMetric: fewer than two values, one of the two is constant, or a value is not finite.
    """
    if len(predicted) < 2:
        raise UndefinedMetric(f"a correlation needs two values or more, here are {len(predicted)}.")
    if not (np.isfinite(predicted).all() and np.isfinite(annotated).all()):
        raise UndefinedMetric("a value is not finite: no correlation.")
    left, right = predicted - predicted.mean(), annotated - annotated.mean()
    lengths = float(np.linalg.norm(left)), float(np.linalg.norm(right))
    for name, values, length in zip(("predicted", "annotated"), (predicted, annotated), lengths, strict=True):
        if length <= 1e-12 * max(1.0, float(np.abs(values).max())):
            raise UndefinedMetric(f"all {len(values)} {name} scores are equal: no correlation.")
    return float(np.clip(left @ right / (lengths[0] * lengths[1]), -1.0, 1.0))


@dataclass(frozen=True)
class LinearProbe:
    """scores = embeddings @ coefficients + intercept; coefficients [d]."""

    coefficients: Vector
    intercept: float

    def __call__(self, embeddings: Vector) -> Vector:
        """Scores [n] of embeddings [n, d]."""
        return np.asarray(embeddings @ self.coefficients + self.intercept)


def fit_probe(embeddings: Vector, scores: Vector) -> LinearProbe:
    """Ridge regression of scores [n] on standardised embeddings [n, d].

    The penalty is the one of `PENALTIES` with the least leave-one-out error, in the closed form for
    ridge: the residual over 1 - h_ii, with h the hat matrix (Golub, Heath, Wahba 1979, Technometrics 21).
    """
    middle, spread = embeddings.mean(axis=0), embeddings.std(axis=0)
    spread = np.where(spread > 1e-12, spread, 1.0)
    left, values, right = np.linalg.svd((embeddings - middle) / spread, full_matrices=False)
    centred = scores - scores.mean()
    projected = left.T @ centred

    def left_out_error(penalty: float) -> float:
        kept = values**2 / (values**2 + penalty)
        leverage = 1.0 / len(scores) + (left**2) @ kept
        return float(np.mean(((centred - left @ (kept * projected)) / np.maximum(1.0 - leverage, 1e-6)) ** 2))

    # the penalties are tried from the strongest down, so that equal errors keep the smaller coefficients
    penalty = min(reversed(PENALTIES), key=left_out_error)
    coefficients = right.T @ (values / (values**2 + penalty) * projected) / spread
    return LinearProbe(coefficients, float(scores.mean() - middle @ coefficients))


def fit_under_dropout(embeddings: Vector, scores: Vector, *, dropout: float) -> LinearProbe:
    """The linear layer that has the least expected squared error while `dropout` acts on its inputs.

    Dropout at rate p adds n p / (1 - p) E[x_k^2] w_k^2 to the squared error, so this is a ridge regression on
    inputs scaled to unit mean square (Srivastava et al. 2014, JMLR 15, section 9.1).
    """
    n = len(scores)
    scale = np.sqrt(np.mean(embeddings**2, axis=0))
    scaled = embeddings / np.where(scale > 1e-12, scale, 1.0)
    middle = scaled.mean(axis=0)
    penalty = n * dropout / (1.0 - dropout) + PENALTIES[0]
    gram = (scaled - middle).T @ (scaled - middle) + penalty * np.eye(scaled.shape[1])
    weights = np.linalg.solve(gram, (scaled - middle).T @ (scores - scores.mean()))
    unit = np.where(scale > 1e-12, scale, 1.0)
    coefficients = weights / unit
    return LinearProbe(coefficients, float(scores.mean() - (middle * unit) @ coefficients))
