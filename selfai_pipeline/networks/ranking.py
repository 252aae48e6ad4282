"""Rank-N-Contrast: the order of the distances is that of the scores (Zha, Cao, Son, Yang, Katabi 2023, arXiv
2210.01189).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from selfai_pipeline.networks.siamese import BLOCK, PairFigures

LARGEST_LOSS = 700.0
"""Of which float64 still has the exponential; a small temperature begins above it."""


@dataclass(frozen=True)
class RankedPairs:
    """Rank-N-Contrast over all pairs of a batch, on the scores themselves.

    The rivals of picture j before an anchor i are all k (j among them, i not) with |s_i - s_k| >=
    |s_i - s_j|, s being the scores. The loss of a pair (i, j) is -log(exp(-d_ij / t) / sum_k exp(-d_ik / t))
    over the rivals k, d being distances, and the result is the mean over all ordered pairs.

    Args:
        temperature: t, in the unit of the distance.
        norm: 1 measures d as `pair_distances` does, sum_k weights[k] |e_ik - e_jk|; 2 takes
            sqrt(sum_k weights[k] (e_ik - e_jk)^2). Both stay as they are when Net2Net widens the embedding.
    """

    temperature: float
    norm: int

    @property
    def scale(self) -> float:
        return self.temperature

    def remaining(self, loss: float) -> float:
        """Among how many rivals a picture is still as good as drawn by lot.

        Most of the loss is the logarithm of the number of pictures: of the loss itself a hundredth would be
        worth epochs.
        """
        return math.exp(min(loss, LARGEST_LOSS))

    def loss(self, embeddings: Tensor, weights: Tensor, *, classes: Tensor, scores: Tensor) -> Tensor:
        """The mean over all ordered pairs of a batch of two or more; memory grows with its square."""
        scaled = self._scaled(embeddings, weights)
        return anchor_losses(
            self._distances(scaled, scaled), scores, scores, first=0, temperature=self.temperature
        ).mean()

    def figures(self, embeddings: Tensor, weights: Tensor, *, classes: Tensor, scores: Tensor) -> PairFigures:
        """The loss and the mean distance of embeddings [n, d], in memory that grows with n.

        Raises:
            ValueError: there are fewer than two embeddings.
        """
        n = len(embeddings)
        if n < 2:
            raise ValueError(f"pairs need two embeddings or more, here are {n}")
        scaled, weighted = self._scaled(embeddings, weights), embeddings * weights
        sums = torch.zeros(2, dtype=torch.float64)
        for first in range(0, n, BLOCK):
            rows = slice(first, first + BLOCK)
            losses = anchor_losses(
                self._distances(scaled[rows], scaled),
                scores[rows],
                scores,
                first=first,
                temperature=self.temperature,
            )
            distances = torch.cdist(weighted[rows], weighted, p=1.0)
            sums += torch.stack([losses.sum(), distances.sum()]).cpu().double()
        return PairFigures(float(sums[0]) / n, float(sums[1]) / (n * (n - 1)))

    def _scaled(self, embeddings: Tensor, weights: Tensor) -> Tensor:
        return embeddings * (weights if self.norm == 1 else weights.sqrt())

    def _distances(self, own: Tensor, others: Tensor) -> Tensor:
        # not by a matrix product: it is less exact, and autocast would round it further
        return torch.cdist(own, others, p=float(self.norm), compute_mode="donot_use_mm_for_euclid_dist")


def anchor_losses(
    distances: Tensor, own: Tensor, others: Tensor, *, first: int, temperature: float
) -> Tensor:
    """The mean loss [m] of each of the anchors `first` .. `first` + m - 1 over the other n - 1 pictures.

    The others of an anchor are sorted by how far their scores are; running sums from the far end then are
    the denominators of all pairs at once, in m n log n steps.

    Args:
        distances: [m, n], of the anchors to all pictures.
        own, others: scores [m] of the anchors and [n] of all pictures.
    """
    m, n = distances.shape
    anchors = torch.arange(first, first + m, device=distances.device)
    different = anchors[:, None] != torch.arange(n, device=distances.device)
    apart = (own[:, None] - others[None, :]).abs()[different].reshape(m, n - 1)
    logits = (-distances / temperature)[different].reshape(m, n - 1)
    ascending, order = apart.sort(dim=1)
    sorted_logits = logits.gather(1, order)
    from_here_on = sorted_logits.flip(1).logcumsumexp(1).flip(1)
    first_of_tie = torch.searchsorted(ascending, ascending)
    return (from_here_on.gather(1, first_of_tie) - sorted_logits).mean(1)
