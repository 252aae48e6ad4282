"""Networks of others in place of our convolutions: built from the list of stages, and left as they are."""

import pytest
import torch

from selfai_pipeline.networks.net2net import widen
from selfai_pipeline.networks.network import Network, tensor_shapes
from selfai_pipeline.networks.stages import (
    INPUT_MIDDLE,
    INPUT_SPREAD,
    Backbone,
    Convolution,
    GlobalAveragePool,
    Head,
    MaxPool,
    UnfitStages,
    stages_from_json,
    stages_to_json,
)

pytest.importorskip("efficientnet_lite_pytorch", reason="the extra `imagenet` is not installed")
LITE = Backbone("efficientnet_lite0", 1280)
VGG = Backbone("vgg16", 512)


@pytest.mark.parametrize("stage", [LITE, VGG], ids=lambda stage: stage.name)
def test_it_embeds_and_scores_pictures_of_any_size(stage: Backbone) -> None:
    stages = (stage, GlobalAveragePool(), Head())
    network = Network(stages)
    pictures = torch.randn(2, 3, 48, 64)
    assert network.embed(pictures).shape == (2, stage.channels)
    assert network(pictures).shape == (2,)
    assert stages_from_json(stages_to_json(stages)) == stages
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert shapes == tensor_shapes(stages)


def test_building_one_leaves_the_global_random_state_alone() -> None:
    state = torch.get_rng_state()
    Network((LITE, GlobalAveragePool()))
    assert torch.equal(torch.get_rng_state(), state)


def test_statistics_of_batch_norm_stay_in_training() -> None:
    network = Network((LITE, GlobalAveragePool(), Head())).train()
    before = {name: value.clone() for name, value in network.named_buffers()}
    network(torch.randn(4, 3, 32, 32)).sum().backward()
    assert all(torch.equal(before[name], value) for name, value in network.named_buffers())
    assert network.backbone is not None
    assert next(network.backbone.parameters()).grad is not None


def test_pixels_come_as_the_weights_were_trained_on_them() -> None:
    network = Network((VGG, GlobalAveragePool()))
    assert network.backbone is not None
    seen: list[torch.Tensor] = []
    network.backbone.features.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    unit = torch.rand(1, 3, 32, 32)
    network.embed((unit - INPUT_MIDDLE) / INPUT_SPREAD)
    mean, spread = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = (unit - mean.reshape(1, 3, 1, 1)) / spread.reshape(1, 3, 1, 1)
    assert torch.allclose(seen[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    "stages",
    [
        (Backbone("resnet", 10), GlobalAveragePool()),
        (Backbone("vgg16", 511), GlobalAveragePool()),
        (LITE, MaxPool(), GlobalAveragePool()),
        (LITE, Convolution("conv1", 4, 3), GlobalAveragePool()),
        (Convolution("conv1", 4, 3), LITE, GlobalAveragePool()),
        (LITE,),
    ],
)
def test_what_builds_no_network_is_refused(stages: tuple[Backbone, ...]) -> None:
    with pytest.raises(UnfitStages):
        Network(stages)


def test_net2net_has_no_layer_of_it_to_widen() -> None:
    network = Network((LITE, GlobalAveragePool()))
    with pytest.raises(UnfitStages, match="no convolution is called 'conv1'"):
        widen(network, "conv1", 8, imbalance=0.5, generator=torch.Generator())
