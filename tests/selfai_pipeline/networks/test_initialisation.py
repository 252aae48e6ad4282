import pytest
import torch
from torch.nn import functional

from selfai_pipeline.networks.initialisation import standardise
from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.stages import Convolution, GlobalAveragePool, tiny_darknet


def pictures_alike(number=32, side=32):
    """Pictures that share most of what they show, as aligned faces do."""
    generator = torch.Generator().manual_seed(0)
    common = torch.randn(1, 3, side, side, generator=generator)
    return common + 0.3 * torch.randn(number, 3, side, side, generator=generator)


def before_the_first_activation(network, pictures, name="conv1"):
    layer = network.layer(name)
    return functional.conv2d(pictures, layer.weight, layer.bias, padding=layer.kernel_size[0] // 2)


def test_every_channel_starts_at_mean_0_and_deviation_1():
    network, pictures = Network(tiny_darknet(0.5), seed=1), pictures_alike()
    standardise(network, pictures)
    values = before_the_first_activation(network, pictures).detach()
    assert values.mean(dim=(0, 2, 3)).abs().max() < 1e-5
    assert values.std(dim=(0, 2, 3)) == pytest.approx(torch.ones(8), abs=1e-4)


def test_later_layers_are_standardised_on_what_the_earlier_ones_give():
    stages = (Convolution("a", 4, 3), Convolution("b", 6, 1), GlobalAveragePool())
    network, pictures = Network(stages, seed=2), pictures_alike()
    standardise(network, pictures)
    first = functional.elu(before_the_first_activation(network, pictures, "a"))
    values = before_the_first_activation(network, first, "b").detach()
    assert values.mean(dim=(0, 2, 3)).abs().max() < 1e-5
    assert values.std(dim=(0, 2, 3)) == pytest.approx(torch.ones(6), abs=1e-4)


def test_pictures_that_look_alike_are_told_apart_from_the_start():
    """What embeddings share is otherwise many times what they differ by: training has to undo that first."""

    def common_to_varying(network):
        embeddings = network.embed(pictures_alike()).detach()
        return float(embeddings.mean(dim=0).norm() / embeddings.std(dim=0).norm())

    network = Network(tiny_darknet(), seed=3)
    before = common_to_varying(network)
    standardise(network, pictures_alike())
    assert common_to_varying(network) < before / 3


def test_a_channel_that_sees_nothing_stays_finite():
    network = Network((Convolution("a", 4, 3), GlobalAveragePool()), seed=4)
    standardise(network, torch.zeros(4, 3, 16, 16))
    assert all(parameter.isfinite().all() for parameter in network.parameters())
