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

    Raises:
        UndefinedMetric: an embedding is not finite.
    """
    if not np.isfinite(embeddings).all():
        raise UndefinedMetric("a linear probe has no value: an embedding is not finite.")
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


def fit_under_dropout(embeddings: Vector, scores: Vector, *, weights: Vector, dropout: float) -> LinearProbe:
    """The linear layer with the least expected squared error while `dropout` acts on its inputs [n, d].

    The expectation is over rows drawn in proportion to `weights` [n]. Dropout at rate p adds
    p / (1 - p) E[x_k^2] c_k^2 to it for a coefficient c_k, so this is a ridge regression on inputs scaled to
    unit mean square (Srivastava et al. 2014, JMLR 15, section 9.1).
    """
    share = weights / weights.sum()
    scale = np.sqrt(share @ embeddings**2)
    unit = np.where(scale > 1e-12, scale, 1.0)
    scaled = embeddings / unit
    middle, mean_score = share @ scaled, float(share @ scores)
    centred = scaled - middle
    # the least penalty, that of PENALTIES, keeps the system solvable without dropout
    penalty = dropout / (1.0 - dropout) + PENALTIES[0] / len(scores)
    gram = centred.T @ (share[:, None] * centred) + penalty * np.eye(scaled.shape[1])
    coefficients = np.linalg.solve(gram, centred.T @ (share * (scores - mean_score))) / unit
    return LinearProbe(coefficients, float(mean_score - (middle * unit) @ coefficients))
