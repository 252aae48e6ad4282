"""What well-known Net2Net ports get wrong, built here on purpose: the measure of sameness finds each."""

import pytest
import torch
from torch.nn import functional

from selfai_pipeline.networks.net2net import deepen, map_optimizer, widen
from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.sameness import deviation
from selfai_pipeline.networks.siamese import pair_distances
from selfai_pipeline.networks.stages import Convolution, GlobalAveragePool, Head, MaxPool

STAGES = (Convolution("a", 4, 3), MaxPool(), Convolution("b", 5, 3), GlobalAveragePool(), Head())


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def trained(seed=0):
    network = Network(STAGES, seed=seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator(seed)))
    return network.eval()


def wider(network, layer="a", channels=9, **changes):
    options = {"imbalance": 0.5, **changes}
    return widen(network, layer, channels, generator=generator(), **options).network


def moved(before, after):
    batch = torch.randn(6, 3, 8, 12, generator=generator(9))
    return deviation(before, after, batch, dtype=torch.float64).largest


def noise_on_the_originals(network):
    """erogol/Net2Net: noise on all weights of the layer, the old ones too."""
    grown = wider(network)
    grown.layer("a").weight.data.add_(0.05 * torch.randn(9, 3, 3, 3, generator=generator()))
    return grown


def random_new_weights(network):
    """erogol/Net2Net by default: new channels get random weights in place of copies."""
    grown = wider(network)
    grown.layer("a").weight.data[4:] = 0.3 * torch.randn(5, 3, 3, 3, generator=generator())
    return grown


def normalised_after_the_copy(network):
    """erogol/Net2Net: new weights are normalised once the consumer was already computed."""
    grown = wider(network)
    weight = grown.layer("a").weight.data
    weight[4:] /= weight[4:].flatten(1).norm(dim=1)[:, None, None, None]
    return grown


def consumer_not_split(network):
    """Every copy adds to the next layer in full."""
    grown = wider(network)
    grown.layer("b").weight.data[:, :4] = network.layer("b").weight.data
    return grown


def centre_counted_from_one(network):
    """erogol/Net2Net: the identity kernel's centre at k // 2 + 1 shifts the picture by a pixel."""
    grown = deepen(network, "a").network
    weight = grown.layer("a_deeper").weight.data
    weight.copy_(weight.roll((1, 1), dims=(2, 3)))
    return grown


def second_elu(network):
    """The naive form: an identity convolution with another ELU, which is not idempotent."""
    grown = deepen(network, "a").network
    grown.layer("a_deeper").bias.data.zero_()
    grown.stages = tuple(
        Convolution("a_deeper", 4, 3) if getattr(stage, "name", "") == "a_deeper" else stage
        for stage in grown.stages
    )
    return grown


class PaddedWithZeros(Network):
    """The alpha shift of `b`'s input with the consumer's bias mended, and its zero padding kept."""

    def embed(self, pictures):
        shift = 1.0
        values = functional.max_pool2d(
            functional.elu(
                functional.conv2d(pictures, self.layer("a").weight, self.layer("a").bias, padding=1)
            )
            + shift,
            2,
        )
        weight = self.layer("b").weight
        bias = self.layer("b").bias - shift * weight.sum(dim=(1, 2, 3))
        return functional.elu(functional.conv2d(values, weight, bias, padding=1)).mean(dim=(2, 3))


def zeros_around_shifted_values(network):
    grown = PaddedWithZeros(STAGES).eval()
    grown.load_state_dict(network.state_dict())
    return grown


def distances_counted_twice(network):
    """The embedding is widened by copies, and each counts in the distance as the original did."""
    grown = wider(network, "b")
    grown.distance_weights.fill_(1.0 / len(network.distance_weights))
    return grown


BUGS = [
    noise_on_the_originals,
    random_new_weights,
    normalised_after_the_copy,
    consumer_not_split,
    centre_counted_from_one,
    second_elu,
    zeros_around_shifted_values,
    distances_counted_twice,
]


@pytest.mark.parametrize("bug", BUGS)
def test_each_known_bug_moves_the_function_and_is_seen(bug):
    network = trained()
    assert moved(network, bug(network)) > 1e-3


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
def test_ours_has_none_of_them(kernel):
    network = trained()
    grown = deepen(wider(wider(network), "b"), "a", kernel=kernel).network
    assert moved(network, grown) < 1e-12


def test_zeroing_noise_moves_the_function_and_leaves_the_old_channels_alone():
    """The seed's way to part copies: some of their incoming weights are zero."""
    network = trained()
    grown = wider(network, imbalance=0.0, zeroed=0.3)
    assert moved(network, grown) > 1e-3
    assert torch.equal(grown.layer("a").weight[:4], network.layer("a").weight)
    zeros = float((grown.layer("a").weight[4:] == 0).float().mean())
    assert 0.1 < zeros < 0.5
    assert moved(network, wider(network, imbalance=0.0)) < 1e-12


@pytest.mark.parametrize(
    ("options", "part"),
    [({"imbalance": 0.5}, True), ({"imbalance": 0.0, "zeroed": 0.3}, True), ({"imbalance": 0.0}, False)],
)
def test_copied_units_of_the_embedding_part_under_a_loss_on_distances(options, part):
    """An L1 distance over copied units counts each as often as it was copied: their weights are split."""
    network = trained()
    grown = wider(network, "b", 10, **options)
    batch = torch.randn(6, 3, 8, 12, generator=generator(9))
    target = torch.rand(6, 6, generator=generator(2))
    distances = pair_distances(grown.embed(batch), grown.distance_weights)
    (distances - target).square().sum().backward()
    gradient = grown.layer("b").bias.grad
    # twice as many channels: each old one has exactly one copy, found by its weights' share
    sources = torch.randperm(5, generator=generator())
    apart = float((gradient[5:] - gradient[sources]).abs().max() / gradient.abs().max())
    assert (apart > 0.02) == part


def test_the_step_after_widening_is_smaller_with_the_mapped_state_than_with_a_fresh_optimizer():
    """A fresh AdamW moves every weight by the whole learning rate, whatever its gradients were."""
    network = trained()
    batch = torch.randn(32, 3, 8, 12, generator=generator(9))
    target = batch.mean(dim=(1, 2, 3)) * 3.0

    def step(net, optimizer):
        optimizer.zero_grad()
        loss = (net(batch) - target).square().mean()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01, weight_decay=0.0)
    for _ in range(300):
        step(network, optimizer)
    losses = {}
    for name in ("mapped", "fresh"):
        growth = widen(network, "a", 8, imbalance=0.5, generator=generator())
        after = torch.optim.AdamW(growth.network.parameters(), lr=0.01, weight_decay=0.0)
        if name == "mapped":
            map_optimizer(optimizer, after, network=network, growth=growth)
        losses[name] = max(step(growth.network, after) for _ in range(6))
    assert losses["mapped"] < losses["fresh"]
