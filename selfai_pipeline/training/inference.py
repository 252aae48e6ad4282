"""Embeddings and scores of many rows, in evaluation mode and float32."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfai_pipeline.networks.network import Network
from selfai_pipeline.training.augmentation import normalise
from selfai_pipeline.training.labels import PixelFeed

BATCH = 128


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
        parts = [measure(normalise(feed(part))) for part in torch.split(torch.from_numpy(rows), BATCH)]
    return torch.cat(parts)


def as_vectors(values: Tensor) -> NDArray[np.float64]:
    """Float64 on the CPU; Apple's GPU has no float64, so the move comes first."""
    return values.detach().cpu().double().numpy()
