"""Weights to begin with that suit the data: no channel of a new network starts far from where ELU bends."""

import torch
from torch import Tensor
from torch.nn import functional

from selfai_pipeline.networks.activation import elu
from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.stages import Convolution, MaxPool

LEAST_DEVIATION = 1e-4
"""A channel that hardly varies is scaled no further: its deviation is that of rounding."""


def standardise(network: Network, pictures: Tensor) -> None:
    """Scale each channel's weights and set its bias so that, before ELU, it has mean 0 and deviation 1.

    Both are taken over `pictures` [n, 3, height, width], as the network sees them, and over places. Without
    it, in a network without normalisation, what all pictures have in common grows from layer to layer and
    what tells them apart vanishes beside it: from scratch, training stays for epochs where it began.
    Krähenbühl et al. 2016, Data-dependent Initializations of Convolutional Neural Networks (arXiv
    1511.06856), section 3.1.

    A network in place of our convolutions is left as it is.
    """
    values = pictures
    with torch.no_grad():
        for stage in network.stages:
            if isinstance(stage, Convolution):
                layer = network.layer(stage.name)
                assert layer.bias is not None
                given = functional.conv2d(values, layer.weight, padding=stage.kernel // 2)
                deviation, mean = torch.std_mean(given, dim=(0, 2, 3))
                deviation.clamp_(min=LEAST_DEVIATION)
                layer.weight.div_(deviation[:, None, None, None])
                layer.bias.copy_(-mean / deviation)
                values = elu((given - mean[:, None, None]) / deviation[:, None, None]) - stage.shift
            elif isinstance(stage, MaxPool):
                values = functional.max_pool2d(values, stage.size)
            else:
                return
