"""Net2Net holds in float64 to 1e-10, for any layer, kernel and picture, and for weights stored as float32."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from selfai_pipeline.networks.net2net import copy_sources, deepen, map_optimizer, split, widen
from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.operators import Deeper, Wider, parse_operator, parse_plan, widen_all
from selfai_pipeline.networks.sameness import deviation
from selfai_pipeline.networks.stages import (
    Convolution,
    GlobalAveragePool,
    Head,
    MaxPool,
    UnfitStages,
    convolutions,
    tiny_darknet,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def trained_network(stages, seed=0):
    """A network whose biases, head and distance weights are not at their initial values."""
    network = Network(stages, seed=seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator(seed)))
        network.distance_weights.uniform_(0.1, 1.0, generator=generator(seed))
    return network.eval()


def pictures(height=8, width=12, n=5, seed=9):
    return torch.randn(n, 3, height, width, generator=generator(seed))


def moved(before, after, dtype=torch.float64, batch=None):
    return deviation(before, after, pictures() if batch is None else batch, dtype=dtype).largest


@st.composite
def random_networks(draw):
    kernels = draw(st.lists(st.sampled_from([1, 3, 5, 7]), min_size=1, max_size=4))
    stages = []
    for number, kernel in enumerate(kernels, 1):
        stages.append(Convolution(f"conv{number}", draw(st.integers(1, 6)), kernel))
        if number < 3 and draw(st.booleans()):
            stages.append(MaxPool())
    return trained_network((*stages, GlobalAveragePool(), Head()), seed=draw(st.integers(0, 1000)))


@given(network=random_networks(), data=st.data())
@settings(max_examples=30, deadline=None)
def test_any_sequence_of_operators_keeps_distances_and_scores(network, data):
    grown = network
    for _ in range(data.draw(st.integers(1, 4))):
        layer = data.draw(st.sampled_from([stage.name for stage in convolutions(grown.stages)]))
        taken = {stage.name for stage in convolutions(grown.stages)}
        if data.draw(st.booleans()) or f"{layer}_deeper" in taken:
            channels = grown.layer(layer).out_channels + data.draw(st.integers(1, 9))
            imbalance = data.draw(st.sampled_from([0.0, 0.5, 0.9]))
            grown = widen(grown, layer, channels, imbalance=imbalance, generator=generator()).network
        else:
            grown = deepen(grown, layer, kernel=data.draw(st.sampled_from([1, 3, 5, 7]))).network
    height, width = (4 * data.draw(st.integers(1, 4), label=side) for side in ("height", "width"))
    assert moved(network, grown, batch=pictures(height, width)) < 1e-10


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("size", [(4, 4), (8, 4), (4, 12)])
def test_deeper_is_exact_at_the_borders_of_pictures_that_are_not_square(kernel, size):
    """A kernel centred at k // 2 + 1 (a 1-based index used 0-based) shifts the picture by one pixel."""
    network = trained_network(
        (Convolution("a", 3, 3), MaxPool(), Convolution("b", 4, 3), GlobalAveragePool())
    )
    grown = deepen(deepen(network, "a", kernel=kernel).network, "b", kernel=kernel).network
    assert moved(network, grown, batch=pictures(*size)) < 1e-12


def test_an_identity_convolution_with_a_second_elu_would_change_the_function():
    """ELU is not idempotent: why `deepen` shifts its input to where ELU is the identity."""
    network = trained_network((Convolution("a", 3, 3), GlobalAveragePool()))
    naive = deepen(network, "a").network
    naive.layer("a_deeper").bias.data.zero_()
    naive.stages = (*network.stages[:1], Convolution("a_deeper", 3, 3), GlobalAveragePool())
    assert moved(network, naive) > 1e-3


def test_a_layer_can_be_deepened_again_and_again():
    network = trained_network((Convolution("a", 3, 3), Convolution("b", 4, 3), GlobalAveragePool()))
    grown = network
    for layer in ("a", "a_deeper", "a_deeper_deeper"):
        grown = deepen(grown, layer).network
    assert [stage.shift for stage in convolutions(grown.stages)] == [0.0, 1.0, 2.0, 3.0, 0.0]
    assert moved(network, grown) < 1e-12


def test_widening_leaves_old_weights_as_they_are():
    """erogol/Net2Net adds noise to the originals and fills new channels at random: 5 to 10 deviations off."""
    network = trained_network((Convolution("a", 3, 3), Convolution("b", 4, 3), GlobalAveragePool()))
    grown = widen(network, "a", 7, imbalance=0.5, generator=generator()).network
    assert torch.equal(grown.layer("a").weight[:3], network.layer("a").weight)
    assert torch.equal(grown.layer("b").bias, network.layer("b").bias)


def test_the_measure_of_sameness_does_not_cancel():
    """paengs/Net2Net takes the absolute value of a signed sum; ours sees differences that sum to zero."""
    network = trained_network((Convolution("a", 2, 1), GlobalAveragePool(), Head()))
    other = copy.deepcopy(network)
    with torch.no_grad():
        scores = network(pictures())
        other.head.weight.mul_(-1)
        other.head.bias.copy_(2 * scores.mean() - other.head.bias)
    assert abs(float((other(pictures()).detach() - scores).sum())) < 1e-4
    assert deviation(network, other, pictures(), dtype=torch.float64).output > 0.01


def test_copies_of_a_channel_receive_different_gradients():
    network = trained_network((Convolution("a", 3, 3), Convolution("b", 4, 3), GlobalAveragePool(), Head()))

    def largest_difference(imbalance):
        grown = widen(network, "a", 6, imbalance=imbalance, generator=generator()).network
        grown(pictures()).sum().backward()
        gradient = grown.layer("a").weight.grad
        sources = copy_sources(3, 6, generator=generator())
        return float((gradient[3:] - gradient[sources[3:]]).abs().max() / gradient.abs().max())

    assert largest_difference(0.0) < 1e-5
    assert largest_difference(0.5) > 0.05


def test_copies_are_spread_evenly_over_the_channels():
    counts = torch.bincount(copy_sources(5, 13, generator=generator()))
    assert sorted(counts.tolist()) == [2, 2, 3, 3, 3]


@given(seed=st.integers(0, 10_000), exponent=st.integers(-40, 20))
@settings(max_examples=50, deadline=None)
def test_float32_shares_add_up_to_the_weight_to_the_last_bit(seed, exponent):
    values = torch.randn(4, 3, generator=generator(seed)) * 2.0**exponent
    sources = copy_sources(3, 8, generator=generator(seed))
    raw = 0.5 + torch.rand(8, generator=generator(seed), dtype=torch.float64)
    shares = raw / torch.zeros(3, dtype=torch.float64).index_add(0, sources, raw)[sources]
    parts = split(values, axis=1, sources=sources, shares=shares)
    assert parts.dtype == torch.float32
    total = torch.zeros(4, 3, dtype=torch.float64).index_add(1, sources, parts.double())
    assert torch.equal(total, values.double())
    torch.testing.assert_close(parts.double(), (values[:, sources] * shares).double(), rtol=1e-5, atol=0)


def test_the_whole_of_tiny_darknet_widens_exactly_the_embedding_included():
    network = trained_network((*tiny_darknet(0.1), Head()))
    wide = widen_all(network, 2.0, imbalance=0.5, generator=generator())
    assert wide.embedding_size == 2 * network.embedding_size
    assert moved(network, wide, batch=pictures(32, 48)) < 1e-12
    assert moved(network, wide, dtype=torch.float32, batch=pictures(32, 48)) < 1e-4
    assert float(wide.distance_weights.sum()) == pytest.approx(float(network.distance_weights.sum()))


def make_adam(network):
    return torch.optim.AdamW(network.parameters(), lr=1e-3)


def make_sgd(network):
    return torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)


def gradients_after(network, make, steps=3):
    """A few steps with fixed weights, so that the optimizer's state is that of a known gradient."""
    optimizer = make(network)
    before = copy.deepcopy(network.state_dict())
    batch = pictures().to(network.distance_weights.dtype)
    for _ in range(steps):
        optimizer.zero_grad()
        network(batch).square().mean().backward()
        optimizer.step()
        network.load_state_dict(before)
    return optimizer


@pytest.mark.parametrize(
    ("make", "keys"), [(make_adam, ["exp_avg", "exp_avg_sq"]), (make_sgd, ["momentum_buffer"])]
)
@pytest.mark.parametrize("layer", ["a", "b"])
def test_the_mapped_state_is_what_the_wide_network_would_have_gathered(make, keys, layer):
    """The wide network, had it seen the same batches from the start, would have the same moments."""
    stages = (Convolution("a", 3, 3), MaxPool(), Convolution("b", 4, 3), GlobalAveragePool(), Head())
    network = trained_network(stages).double()
    growth = widen(network, layer, 7, imbalance=0.5, generator=generator())
    stateful = gradients_after(copy.deepcopy(network), make)
    old = make(network)
    old.load_state_dict(stateful.state_dict())
    mapped = make(growth.network)
    map_optimizer(old, mapped, network=network, growth=growth)
    gathered = gradients_after(copy.deepcopy(growth.network), make)
    for mine, theirs in zip(mapped.state.values(), gathered.state.values(), strict=True):
        for key in keys:
            torch.testing.assert_close(mine[key], theirs[key], rtol=1e-9, atol=1e-12)
        if "step" in theirs:
            assert mine["step"] == theirs["step"]


def test_a_new_layer_starts_without_state_and_the_rest_keeps_its_own():
    network = trained_network((Convolution("a", 3, 3), Convolution("b", 4, 3), GlobalAveragePool(), Head()))
    old = gradients_after(network, make_adam)
    growth = deepen(network, "a")
    new = make_adam(growth.network)
    map_optimizer(old, new, network=network, growth=growth)
    assert growth.added == {"layers.a_deeper.weight", "layers.a_deeper.bias"}
    named = dict(growth.network.named_parameters())
    assert {name for name, parameter in named.items() if parameter not in new.state} == growth.added
    kept = old.state[network.layer("b").weight]["exp_avg"]
    assert torch.equal(new.state[named["layers.b.weight"]]["exp_avg"], kept)


def test_the_mapped_state_has_the_strides_of_its_parameter():
    network = trained_network((Convolution("a", 3, 3), Convolution("b", 4, 3), GlobalAveragePool(), Head()))
    old = gradients_after(network, make_adam)
    growth = widen(network, "a", 6, imbalance=0.5, generator=generator())
    growth.network.to(memory_format=torch.channels_last)
    new = make_adam(growth.network)
    map_optimizer(old, new, network=network, growth=growth)
    for parameter, state in new.state.items():
        assert state["exp_avg"].stride() == parameter.stride()


def test_operators_are_read_from_text():
    assert parse_operator("wider conv3 1.5") == Wider("conv3", 1.5)
    assert parse_operator(" deeper  conv3 ") == Deeper("conv3", 3)
    assert parse_operator("deeper conv3 5") == Deeper("conv3", 5)


@pytest.mark.parametrize(
    "text",
    [
        *("", "wider", "wider conv3", "wider conv3 1.0", "wider conv3 nan", "wider conv3 inf"),
        "wider conv3 1_5",
        *("deeper conv3 -1", "deeper conv3 \u00b2", "narrower conv3 2"),
    ],
)
def test_text_that_names_no_operator_is_refused(text):
    with pytest.raises(UnfitStages, match="no operator"):
        parse_operator(text)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (["wider conv99 2"], "operator 1 .* no convolution is called 'conv99'"),
        (["deeper conv15", "deeper conv15"], "operator 2 .* deepened before"),
        (["deeper conv15 4"], "no centre"),
        (["wider conv15 1000000"], r"conv15 has 3.2e\+07 channels; from 1 to \d+ can be"),
        (["wider conv15 1e300"], r"conv15 has 3.2e\+301 channels"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused_before_training(plan, message):
    with pytest.raises(UnfitStages, match=message):
        parse_plan(plan, tiny_darknet(0.25))


def test_a_plan_may_grow_what_it_has_inserted():
    assert parse_plan(["deeper conv15", "wider conv15_deeper 2"], tiny_darknet(0.25)) == [
        Deeper("conv15"),
        Wider("conv15_deeper", 2.0),
    ]


@pytest.mark.parametrize(("channels", "expected"), [(100, 110), (50, 55), (7, 8)])
def test_a_factor_is_taken_as_it_is_written(channels, expected):
    """In binary 100 * 1.1 is a little more than 110, and rounds up to 111."""
    assert Wider("conv1", 1.1).channels((Convolution("conv1", channels, 3), GlobalAveragePool())) == expected


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_shares_add_up_exactly_in_every_number_format(dtype):
    values = torch.randn(3, 40, generator=generator(4)).to(dtype)
    sources = copy_sources(3, 5, generator=generator(5))
    shares = torch.rand(5, generator=generator(6), dtype=torch.float64)
    parts = split(values, axis=0, sources=sources, shares=shares)
    assert parts.dtype == dtype
    total = torch.zeros(3, 40, dtype=torch.float64).index_add(0, sources, parts.double())
    assert torch.equal(total, values.double())


def test_an_embedding_that_moved_by_a_constant_is_another_function():
    """Its distances are the same to the last bit."""
    network = trained_network((Convolution("conv1", 6, 3), GlobalAveragePool()))
    moved_by_a_constant = copy.deepcopy(network)
    moved_by_a_constant.stages = (Convolution("conv1", 6, 3, shift=1.0), GlobalAveragePool())
    found = deviation(network, moved_by_a_constant, pictures(), dtype=torch.float64)
    assert found.distance < 1e-12
    assert found.embedding > 0.1
    assert found.largest == found.embedding


@pytest.mark.parametrize("part", ["head.bias", "layers.conv1.bias", "distance_weights"])
def test_a_network_that_gives_no_numbers_is_the_same_as_none(part):
    """A NaN is neither above nor below a bound: what is largest must not lose it among the others."""
    network = trained_network((Convolution("conv1", 6, 3), GlobalAveragePool(), Head()))
    with torch.no_grad():
        network.state_dict()[part][0] = math.nan
    assert math.isnan(moved(network, copy.deepcopy(network)))
