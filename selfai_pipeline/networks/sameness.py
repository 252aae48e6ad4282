"""How far two networks are from being the same function, measured on pictures."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.siamese import pair_distances


@dataclass(frozen=True)
class Deviation:
    """Largest absolute difference over largest absolute value, of distances and (with a head) of scores."""

    distance: float
    output: float | None

    @property
    def largest(self) -> float:
        return max(self.distance, self.output or 0.0)


def deviation(before: Network, after: Network, pictures: Tensor, *, dtype: torch.dtype) -> Deviation:
    """How `after` differs from `before` on `pictures` [n, 3, height, width], computed on the CPU in `dtype`.

    Weights are converted as they are stored, so float64 shows what the stored weights mean, without rounding.
    """
    (old_distances, old_scores), (new_distances, new_scores) = (
        _outputs(network, pictures, dtype) for network in (before, after)
    )
    return Deviation(
        distance=_relative(old_distances, new_distances),
        output=None if old_scores is None or new_scores is None else _relative(old_scores, new_scores),
    )


def _outputs(network: Network, pictures: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    twin = copy.deepcopy(network).cpu().to(dtype).eval()
    with torch.no_grad():
        embeddings = twin.embed(pictures.cpu().to(dtype))
        distances = pair_distances(embeddings.double(), twin.distance_weights.double())
        scores = twin.score(embeddings).double() if twin.head is not None else None
    return distances, scores


def _relative(before: Tensor, after: Tensor) -> float:
    scale = float(before.abs().max())
    moved = float((after - before).abs().max())
    return moved / scale if scale > 0 else moved
