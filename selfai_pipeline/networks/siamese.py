"""The Siamese distance, and the hinge embedding loss over all pairs of a batch."""

import torch
from torch import Tensor


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
    apart = (classes[:, None] - classes[None, :]).abs()
    upper = torch.ones_like(apart, dtype=torch.bool).triu(diagonal=1)
    return (apart == 0) & upper, (apart >= negative_from) & upper
