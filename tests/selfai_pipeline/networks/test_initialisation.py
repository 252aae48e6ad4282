import pytest
import torch
from torch.nn import functional

from selfai_pipeline.networks import network as network_module
from selfai_pipeline.networks.initialisation import standardise
from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.stages import (
    Convolution,
    GlobalAveragePool,
    MaxPool,
    convolutions,
    tiny_darknet,
)


def pictures_alike(number=32, side=32):
    """Pictures that share most of what they show, as aligned faces do."""
    generator = torch.Generator().manual_seed(0)
    common = torch.randn(1, 3, side, side, generator=generator)
    return common + 0.3 * torch.randn(number, 3, side, side, generator=generator)


@pytest.mark.parametrize(
    "stages",
    [
        tiny_darknet(0.25),
        (Convolution("a", 4, 3, shift=1.0), MaxPool(), Convolution("b", 6, 3), GlobalAveragePool()),
    ],
)
def test_every_layer_is_standardised_on_what_the_network_gives_it(stages, monkeypatch):
    """Through pools, zeros around shifted values, and all: looked at where the network itself takes ELU."""
    pictures, seen = pictures_alike(), []
    network = Network(stages, seed=2)
    standardise(network, pictures)
    monkeypatch.setattr(network_module, "elu", lambda values: seen.append(values) or functional.elu(values))
    with torch.no_grad():
        network.embed(pictures)
    assert len(seen) == len(convolutions(stages))
    for values in seen:
        deviation, mean = torch.std_mean(values, dim=(0, 2, 3))
        assert mean.abs().max() < 1e-4
        assert deviation == pytest.approx(torch.ones(len(deviation)), abs=1e-3)


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
