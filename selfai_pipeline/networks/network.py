"""The network that a list of stages describes."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from selfai_pipeline.networks.stages import (
    INPUT_CHANNELS,
    Convolution,
    Head,
    MaxPool,
    Stage,
    check_stages,
    convolutions,
)

ELU_GAIN = 1.2453
"""1 / sqrt(E[ELU(z)^2]) for standard normal z: weights of standard deviation gain / sqrt(fan_in) keep the second
moment of the activations from layer to layer, which a network without normalisation needs."""


class Network(nn.Module):
    """A trunk of convolutions, the distance between two embeddings, and, where the stages have one, a head.

    Args:
        stages: see `stages.py`.
        seed: of the initial weights; the global random state is neither used nor changed.

    `distance_weights` [d] are the weights of the L1 distance between embeddings: 1/d each at the start, a mean
    over units. They are no parameters: they exist so that a widened embedding keeps its distances exactly.
    """

    distance_weights: Tensor

    def __init__(self, stages: Iterable[Stage], *, seed: int = 0) -> None:
        super().__init__()
        self.stages = tuple(stages)
        check_stages(self.stages)
        generator = torch.Generator().manual_seed(seed)
        layers: dict[str, nn.Module] = {}
        channels = INPUT_CHANNELS
        for stage in convolutions(self.stages):
            layer = nn.Conv2d(channels, stage.channels, stage.kernel)
            _initialise(layer, generator)
            layers[stage.name] = layer
            channels = stage.channels
        self.layers = nn.ModuleDict(layers)
        self.register_buffer("distance_weights", torch.full((channels,), 1.0 / channels))
        self.dropout = 0.0
        self.head: nn.Linear | None = None
        last = self.stages[-1]
        if isinstance(last, Head):
            self.dropout = last.dropout
            self.head = nn.Linear(channels, 1)
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)

    @property
    def embedding_size(self) -> int:
        return int(self.distance_weights.numel())

    @property
    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    def layer(self, name: str) -> nn.Conv2d:
        """The convolution called `name` in the stages."""
        layer = self.layers[name]
        assert isinstance(layer, nn.Conv2d)
        return layer

    def embed(self, pictures: Tensor) -> Tensor:
        """Embeddings [n, d] of `pictures` [n, 3, height, width], normalised as `augmentation.normalise` does."""
        values = pictures
        for stage in self.stages:
            if isinstance(stage, Convolution):
                layer = self.layer(stage.name)
                values = functional.elu(convolve(values, layer.weight, layer.bias, padding=stage.padding))
            elif isinstance(stage, MaxPool):
                values = functional.max_pool2d(values, stage.size)
        return values.mean(dim=(2, 3))

    def forward(self, pictures: Tensor) -> Tensor:
        """Scores [n] on the scale 0..9 (not clipped) of `pictures` [n, 3, height, width].

        Raises:
            RuntimeError: the network has no head.
        """
        return self.score(self.embed(pictures))

    def score(self, embeddings: Tensor) -> Tensor:
        """Scores [n] of embeddings [n, d]; dropout is active in training mode only."""
        if self.head is None:
            raise RuntimeError("this network has no head: it embeds pictures, it does not score them")
        dropped = functional.dropout(embeddings, self.dropout, self.training)
        scores: Tensor = self.head(dropped)
        return scores.squeeze(1)


def convolve(values: Tensor, weight: Tensor, bias: Tensor | None, *, padding: float) -> Tensor:
    """A convolution that keeps height and width; what lies outside of the picture has the value `padding`."""
    border = weight.shape[-1] // 2
    if padding == 0.0 or border == 0:
        return functional.conv2d(values, weight, bias, padding=border)
    return functional.conv2d(functional.pad(values, [border] * 4, value=padding), weight, bias)


def _initialise(layer: nn.Conv2d, generator: torch.Generator) -> None:
    fan_in = layer.weight[0].numel()
    with torch.no_grad():
        layer.weight.normal_(0.0, ELU_GAIN / fan_in**0.5, generator=generator)
        if layer.bias is not None:
            layer.bias.zero_()
