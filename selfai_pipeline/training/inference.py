"""Embeddings and scores of many rows, in evaluation mode.

Computed in float32, or in the format of the `Compute.reduced` around them; what comes back is float32.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfai_pipeline.networks.network import Network
from selfai_pipeline.training.augmentation import normalise
from selfai_pipeline.training.labels import PixelFeed


def pictures_at_once(device: torch.device) -> int:
    """On a processor few, so that what one layer hands to the next stays in its cache; many on a GPU."""
    return 32 if device.type == "cpu" else 128


def embed_rows(network: Network, rows: NDArray[np.int64], *, feed: PixelFeed) -> Tensor:
    """Embeddings [n, d] float32 of the rows [n] of a label table; the network is left in evaluation mode."""
    return _over_rows(network, network.embed, rows, feed=feed)


def score_rows(network: Network, rows: NDArray[np.int64], *, feed: PixelFeed) -> Tensor:
    """Scores [n] float32 of the rows [n] of a label table; the network is left in evaluation mode."""
    return _over_rows(network, network, rows, feed=feed)


def _over_rows(
    network: Network, measure: Callable[[Tensor], Tensor], rows: NDArray[np.int64], *, feed: PixelFeed
) -> Tensor:
    network.eval()
    with torch.no_grad():
        batches = torch.split(torch.from_numpy(rows), pictures_at_once(feed.device))
        parts = [measure(normalise(feed(batch))) for batch in batches]
    return torch.cat(parts).float()


def as_vectors(values: Tensor) -> NDArray[np.float64]:
    """Float64 on the CPU; Apple's GPU has no float64, so the move comes first."""
    return values.detach().cpu().double().numpy()
