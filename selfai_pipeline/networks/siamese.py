"""The Siamese distance, and the hinge embedding loss over all pairs of a batch."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

BLOCK = 256
"""Rows of the distance matrix that are held at a time when nothing is learnt from it."""


def pair_distances(embeddings: Tensor, weights: Tensor) -> Tensor:
    """Distances [n, n] of embeddings e [n, d]: sum_k weights[k] |e_ik - e_jk|, with weights [d] >= 0."""
    scaled = embeddings * weights
    return torch.cdist(scaled, scaled, p=1.0)


@dataclass(frozen=True)
class PairFigures:
    """Over all pairs: the loss, and the mean distance (L1, whatever the loss measures)."""

    loss: float
    mean_distance: float


class Pairs(Protocol):
    """A way to learn from all pairs of a batch: of embeddings [n, d] with the distance weights [d] >= 0, of
    integer classes [n] and of scores [n], all on one device."""

    @property
    def scale(self) -> float:
        """The distance beside which a mean distance is large or small."""
        ...

    def remaining(self, loss: float) -> float:
        """What a loss leaves to learn: a figure above 0 of which a fraction is worth the same anywhere."""
        ...

    def loss(self, embeddings: Tensor, weights: Tensor, *, classes: Tensor, scores: Tensor) -> Tensor: ...

    def figures(
        self, embeddings: Tensor, weights: Tensor, *, classes: Tensor, scores: Tensor
    ) -> PairFigures: ...


@dataclass(frozen=True)
class HingePairs:
    """`hinge_embedding_loss`, with its arguments."""

    margin: float
    negative_from: int
    margin_at: int | None = None

    @property
    def scale(self) -> float:
        return self.margin

    def remaining(self, loss: float) -> float:
        """The loss itself: it is 0 where nothing is left."""
        return loss

    def loss(self, embeddings: Tensor, weights: Tensor, *, classes: Tensor, scores: Tensor) -> Tensor:
        return hinge_embedding_loss(
            pair_distances(embeddings, weights),
            classes,
            margin=self.margin,
            negative_from=self.negative_from,
            margin_at=self.margin_at,
        )

    def figures(self, embeddings: Tensor, weights: Tensor, *, classes: Tensor, scores: Tensor) -> PairFigures:
        return pair_figures(
            embeddings,
            weights,
            classes,
            margin=self.margin,
            negative_from=self.negative_from,
            margin_at=self.margin_at,
        )


def hinge_embedding_loss(
    distances: Tensor, classes: Tensor, *, margin: float, negative_from: int, margin_at: int | None = None
) -> Tensor:
    """The hinge embedding loss over all pairs i < j of a batch (Hadsell, Chopra, LeCun 2006, in its L1 form).

    A pair of one class costs its distance; a pair at least `negative_from` classes apart costs
    max(0, margin - distance); pairs in between cost nothing. Both kinds weigh the same, however many there
    are: the result is half the mean over one kind plus half the mean over the other (a missing kind counts
    0).

    Args:
        distances: [n, n].
        classes: [n], integers.
        negative_from: 1 makes every pair of two classes a negative one. On ordered scores, with one margin
            for all, that pulls and pushes neighbours alike, and the embedding tends to collapse.
        margin_at: the margin grows in proportion to the classes between two pictures, and is `margin` at so
            many; None: it is the same for all.
    """
    positive, negative = pair_kinds(classes, negative_from=negative_from)
    margins = _margins(classes, classes, margin=margin, margin_at=margin_at)
    pull = (distances * positive).sum() / positive.sum().clamp(min=1)
    push = ((margins - distances).clamp(min=0.0) * negative).sum() / negative.sum().clamp(min=1)
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


def pair_figures(
    embeddings: Tensor,
    weights: Tensor,
    classes: Tensor,
    *,
    margin: float,
    negative_from: int,
    margin_at: int | None = None,
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
        own = classes[first : first + BLOCK]
        positive, negative = _kinds(own, classes, first=first, negative_from=negative_from)
        margins = _margins(own, classes, margin=margin, margin_at=margin_at)
        parts = (distances * positive, (margins - distances).clamp(min=0.0) * negative, distances)
        sums += torch.stack([part.sum() for part in parts]).cpu().double()
        counts += torch.stack([positive.sum(), negative.sum()]).cpu()
    pull, push = (sums[:2] / counts.clamp(min=1)).tolist()
    return PairFigures(0.5 * pull + 0.5 * push, float(sums[2]) / (n * (n - 1)))


def _kinds(own: Tensor, others: Tensor, *, first: int, negative_from: int) -> tuple[Tensor, Tensor]:
    """The rows `first` and following of the two masks of `pair_kinds`."""
    apart = (own[:, None] - others[None, :]).abs()
    upper = torch.ones_like(apart, dtype=torch.bool).triu(diagonal=1 + first)
    return (apart == 0) & upper, (apart >= negative_from) & upper


def _margins(own: Tensor, others: Tensor, *, margin: float, margin_at: int | None) -> Tensor | float:
    if margin_at is None:
        return margin
    return margin / margin_at * (own[:, None] - others[None, :]).abs()
