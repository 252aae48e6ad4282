"""How far two networks are from being the same function, measured on pictures."""

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.siamese import pair_distances


@dataclass(frozen=True)
class Deviation:
    """Largest absolute difference over largest absolute value, of three things that Net2Net keeps.

    `distance` is of the embedding distances. `embedding` is of sum_k w_k e_k and sum_k w_k e_k^2 of each
    picture, with w the distance weights: whatever moves an embedding by a constant leaves distances as they
    are. `output` is of the scores, None where one of the two has no head.
    """

    distance: float
    embedding: float
    output: float | None

    @property
    def largest(self) -> float:
        """Not a number where one of the three is none: nothing is below any bound then."""
        found = [self.distance, self.embedding, self.output or 0.0]
        return math.nan if any(map(math.isnan, found)) else max(found)


def deviation(before: Network, after: Network, pictures: Tensor, *, dtype: torch.dtype) -> Deviation:
    """How `after` differs from `before` on `pictures` [n, 3, height, width], computed on the CPU in `dtype`.

    Weights are converted as they are stored, so float64 shows what the stored weights mean, without rounding.
    """
    old, new = (_outputs(network, pictures, dtype) for network in (before, after))
    return Deviation(
        distance=_relative(old.distances, new.distances),
        embedding=_relative(old.moments, new.moments),
        output=None if old.scores is None or new.scores is None else _relative(old.scores, new.scores),
    )


@dataclass(frozen=True)
class _Outputs:
    """`distances` [n, n], `moments` [2, n] and `scores` [n] of n pictures, float64."""

    distances: Tensor
    moments: Tensor
    scores: Tensor | None


def _outputs(network: Network, pictures: Tensor, dtype: torch.dtype) -> _Outputs:
    twin = copy.deepcopy(network).cpu().to(dtype).eval()
    with torch.no_grad():
        embeddings = twin.embed(pictures.cpu().to(dtype))
        scores = twin.score(embeddings).double() if twin.head is not None else None
        exact, weights = embeddings.double(), twin.distance_weights.double()
        moments = torch.stack([exact @ weights, exact.square() @ weights])
        return _Outputs(pair_distances(exact, weights), moments, scores)


def _relative(before: Tensor, after: Tensor) -> float:
    scale = float(before.abs().max())
    moved = float((after - before).abs().max())
    return moved / scale if scale > 0 else moved
