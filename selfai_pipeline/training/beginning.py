"""Networks before their first step."""

from collections.abc import Iterable

import numpy as np
import torch

from selfai_pipeline.networks.initialisation import standardise
from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.stages import Stage
from selfai_pipeline.training.augmentation import normalise
from selfai_pipeline.training.labels import LabelledPixels
from selfai_pipeline.training.samplers import derived_seed

PICTURES = 128
"""On which a new network is standardised; their activations lie in memory at once."""


def new_network(stages: Iterable[Stage], *, data: LabelledPixels, seed: int) -> Network:
    """A network of random weights, standardised on pictures of the train split; on the CPU."""
    network = Network(stages, seed=derived_seed(seed, "weights"))
    generator = np.random.default_rng(derived_seed(seed, "first pictures"))
    rows = generator.permutation(data.train)[:PICTURES]
    standardise(network, normalise(torch.from_numpy(data.pixels[np.sort(rows)])))
    return network
