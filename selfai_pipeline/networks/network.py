"""The network that a list of stages describes."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init

from selfai_pipeline.networks.activation import elu
from selfai_pipeline.networks.backbones import FrozenStatistics, backbone
from selfai_pipeline.networks.stages import (
    INPUT_CHANNELS,
    Backbone,
    Convolution,
    Head,
    MaxPool,
    Stage,
    check_stages,
    convolutions,
    reduction,
)

ELU_GAIN = 1.2453
"""1 / sqrt(E[ELU(z)^2]) for standard normal z. Weights of standard deviation gain / sqrt(fan_in) keep the
second moment of the activations from layer to layer; a network without normalisation needs that."""


class Network(nn.Module):
    """A trunk of convolutions, the distance between two embeddings, and, where the stages have one, a head.

    Args:
        stages: see `stages.py`.
        seed: of the initial weights; the global random state is neither used nor changed.

    `distance_weights` [d] are the weights of the L1 distance between embeddings: 1/d each at the start, so
    that a distance is a mean over units. They are not trained: they are there to keep distances when d is
    widened.
    """

    distance_weights: Tensor

    def __init__(self, stages: Iterable[Stage], *, seed: int = 0) -> None:
        super().__init__()
        self.stages = tuple(stages)
        check_stages(self.stages)
        self.reduction = reduction(self.stages)
        generator = torch.Generator().manual_seed(seed)
        layers: dict[str, nn.Module] = {}
        channels = INPUT_CHANNELS
        for stage in convolutions(self.stages):
            layer = skip_init(nn.Conv2d, channels, stage.channels, stage.kernel)  # type: ignore[no-untyped-call]
            _initialise(layer, generator)
            layers[stage.name] = layer
            channels = stage.channels
        self.layers = nn.ModuleDict(layers)
        self.backbone: FrozenStatistics | None = None
        if isinstance(self.stages[0], Backbone):
            self.backbone, channels = backbone(self.stages[0]), self.stages[0].channels
        self.register_buffer("distance_weights", torch.full((channels,), 1.0 / channels))
        self.dropout, self.mirrored = 0.0, False
        self.head: nn.Linear | None = None
        last = self.stages[-1]
        if isinstance(last, Head):
            self.dropout, self.mirrored = last.dropout, last.mirrored
            self.head = skip_init(nn.Linear, channels, 1)  # type: ignore[no-untyped-call]
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
        """Embeddings [n, d] of `pictures` [n, 3, height, width], pixels scaled to about -2..2."""
        height, width = pictures.shape[2:]
        if height % self.reduction or width % self.reduction:
            raise ValueError(f"pictures of {height} x {width} px: the pools divide by {self.reduction}")
        values = pictures if self.backbone is None else self.backbone(pictures)
        for stage in self.stages:
            if isinstance(stage, Convolution):
                layer = self.layer(stage.name)
                border = stage.kernel // 2
                values = elu(functional.conv2d(values, layer.weight, layer.bias, padding=border))
                if stage.shift:
                    values = values - stage.shift
            elif isinstance(stage, MaxPool):
                values = functional.max_pool2d(values, stage.size)
        return values.mean(dim=(2, 3))

    def forward(self, pictures: Tensor) -> Tensor:
        """Scores [n] on the scale 0..9 (not clipped) of `pictures` [n, 3, height, width].

        Raises:
            RuntimeError: the network has no head.
        """
        scores = self.score(self.embed(pictures))
        if self.mirrored and not self.training:
            scores = (scores + self.score(self.embed(pictures.flip(3)))) / 2.0
        return scores

    def score(self, embeddings: Tensor) -> Tensor:
        """Scores [n] of embeddings [n, d]; dropout is active in training mode only.

        Whatever autocast is on, in the format of the head: bfloat16 has steps of .03 at a score of 5.
        """
        if self.head is None:
            raise RuntimeError("this network has no head: it embeds pictures, it does not score them")
        whole = embeddings.to(self.head.weight.dtype)
        with torch.autocast(embeddings.device.type, enabled=False):
            scores: Tensor = self.head(functional.dropout(whole, self.dropout, self.training))
        return scores.squeeze(1)


def tensor_shapes(stages: Iterable[Stage]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of `Network(stages)`, without building it."""
    listed = tuple(stages)
    shapes: dict[str, tuple[int, ...]] = {}
    channels = INPUT_CHANNELS
    for stage in convolutions(listed):
        shapes[f"layers.{stage.name}.weight"] = (stage.channels, channels, stage.kernel, stage.kernel)
        shapes[f"layers.{stage.name}.bias"] = (stage.channels,)
        channels = stage.channels
    if isinstance(listed[0], Backbone):
        with torch.device("meta"):
            tensors = backbone(listed[0]).state_dict()
        shapes |= {f"backbone.{name}": tuple(tensor.shape) for name, tensor in tensors.items()}
        channels = listed[0].channels
    shapes["distance_weights"] = (channels,)
    if isinstance(listed[-1], Head):
        shapes["head.weight"], shapes["head.bias"] = (1, channels), (1,)
    return shapes


def _initialise(layer: nn.Conv2d, generator: torch.Generator) -> None:
    fan_in = layer.weight[0].numel()
    with torch.no_grad():
        layer.weight.normal_(0.0, ELU_GAIN / fan_in**0.5, generator=generator)
        if layer.bias is not None:
            layer.bias.zero_()
