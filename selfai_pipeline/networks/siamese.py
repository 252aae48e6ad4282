"""The Siamese distance, and the hinge embedding loss over all pairs of a batch."""

from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 256
"""Rows of the distance matrix that are held at a time when nothing is learnt from it."""


def pair_distances(embeddings: Tensor, weights: Tensor) -> Tensor:
    """Distances [n, n] of embeddings e [n, d]: sum_k weights[k] |e_ik - e_jk|, with weights [d] >= 0."""
    scaled = embeddings * weights
    return torch.cdist(scaled, scaled, p=1.0)


def hinge_embedding_loss(distances: Tensor, classes: Tensor, *, margin: float, negative_from: int) -> Tensor:
    """The hinge embedding loss over all pairs i < j of a batch (Hadsell, Chopra, LeCun 2006, in its L1 form).

    A pair of one class costs its distance; a pair at least `negative_from` classes apart costs
    max(0, margin - distance); pairs in between cost nothing. Both kinds weigh the same, however many there
    are: the result is half the mean over one kind plus half the mean over the other (a missing kind counts
    0).

    Args:
        distances: [n, n].
        classes: [n], integers.
        negative_from: 1 makes every pair of two classes a negative one. On ordered scores that pulls and
            pushes neighbours alike, and the embedding tends to collapse.
    """
    positive, negative = pair_kinds(classes, negative_from=negative_from)
    pull = (distances * positive).sum() / positive.sum().clamp(min=1)
    push = ((margin - distances).clamp(min=0.0) * negative).sum() / negative.sum().clamp(min=1)
    return 0.5 * pull + 0.5 * push


def pair_kinds(classes: Tensor, *, negative_from: int) -> tuple[Tensor, Tensor]:
    """Masks [n, n] of the pairs i < j of one class, and of those at least `negative_from` classes apart."""
    return _kinds(classes, classes, first=0, negative_from=negative_from)


def has_both_kinds(classes: Tensor, *, negative_from: int) -> tuple[bool, bool]:
    """Whether classes [n] have a pair of one class, and a pair at least `negative_from` classes apart."""
    if not len(classes):
        return False, False
    repeated = bool((classes.sort().values.diff() == 0).any())
    return repeated, int(classes.max() - classes.min()) >= negative_from


@dataclass(frozen=True)
class PairFigures:
    """Over all pairs i < j: the hinge embedding loss, and the mean distance."""

    loss: float
    mean_distance: float


def pair_figures(
    embeddings: Tensor, weights: Tensor, classes: Tensor, *, margin: float, negative_from: int
) -> PairFigures:
    """`hinge_embedding_loss` and the mean distance of embeddings [n, d], in memory that grows with n.

    Raises:
        ValueError: there are fewer than two embeddings.
    """
    n = len(embeddings)
    if n < 2:
        raise ValueError(f"pairs need two embeddings or more, here are {n}")
    scaled = embeddings * weights
    # pull, push, all distances; and the number of pairs of each kind
    sums, counts = torch.zeros(3, dtype=torch.float64), torch.zeros(2, dtype=torch.int64)
    for first in range(0, n, BLOCK):
        distances = torch.cdist(scaled[first : first + BLOCK], scaled, p=1.0)
        positive, negative = _kinds(
            classes[first : first + BLOCK], classes, first=first, negative_from=negative_from
        )
        parts = (distances * positive, (margin - distances).clamp(min=0.0) * negative, distances)
        sums += torch.stack([part.sum() for part in parts]).cpu().double()
        counts += torch.stack([positive.sum(), negative.sum()]).cpu()
    pull, push = (sums[:2] / counts.clamp(min=1)).tolist()
    return PairFigures(0.5 * pull + 0.5 * push, float(sums[2]) / (n * (n - 1)))


def _kinds(own: Tensor, others: Tensor, *, first: int, negative_from: int) -> tuple[Tensor, Tensor]:
    """The rows `first` and following of the two masks of `pair_kinds`."""
    apart = (own[:, None] - others[None, :]).abs()
    upper = torch.ones_like(apart, dtype=torch.bool).triu(diagonal=1 + first)
    return (apart == 0) & upper, (apart >= negative_from) & upper
