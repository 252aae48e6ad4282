"""Networks of others as the trunk of ours: the control that begins with ImageNet.

EfficientNet-Lite0 (package efficientnet-lite-pytorch) and VGG-16 (torchvision); both are built without
weights here, see `training.imagenet` for those.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from selfai_pipeline.networks.stages import INPUT_MIDDLE, INPUT_SPREAD, Backbone, UnfitStages

MEND = "install the extra `imagenet` (pip install 'selfai-pipeline[imagenet]')"


@dataclass(frozen=True)
class KnownBackbone:
    """How to build a backbone.

    `middle` and `spread` [3] are those of the pixels, 0..1, that its weights were trained on.
    """

    channels: int
    middle: tuple[float, float, float]
    spread: tuple[float, float, float]
    build: Callable[[], nn.Module]


class FrozenStatistics(nn.Module):
    """Feature maps [n, channels, h, w] of a backbone, from pictures scaled as for our own networks.

    Its batch norms keep the statistics that they came with: batches here are small and of faces alone, and
    weights that are averaged need statistics that stay.
    """

    gain: Tensor
    offset: Tensor

    def __init__(self, features: nn.Module, *, middle: Tensor, spread: Tensor) -> None:
        super().__init__()
        self.features = features
        # Not saved: they belong to the kind of backbone.
        self.register_buffer("gain", (INPUT_SPREAD / spread).reshape(1, -1, 1, 1), persistent=False)
        offset = ((INPUT_MIDDLE - middle) / spread).reshape(1, -1, 1, 1)
        self.register_buffer("offset", offset, persistent=False)

    def train(self, mode: bool = True) -> "FrozenStatistics":
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, pictures: Tensor) -> Tensor:
        features: Tensor = self.features(pictures * self.gain + self.offset)
        return features


def _efficientnet_lite0() -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    class Features(EfficientNet):  # type: ignore[misc]
        """Up to the last feature map; the classifier of the thousand classes is left out."""

        def forward(self, pictures: Tensor) -> Tensor:
            features: Tensor = self.extract_features(pictures)
            return features

    # Without an image_size it pads as TensorFlow does for pictures of any size.
    network = Features.from_name("efficientnet-lite0", image_size=None, drop_connect_rate=0.0)
    network._fc = nn.Identity()
    return network  # type: ignore[no-any-return]


def _vgg16() -> nn.Module:
    from torchvision.models import vgg16

    return vgg16(weights=None).features  # type: ignore[no-any-return]


BACKBONES = {
    # Of four ways to scale pixels, its first batch norm's statistics fit this one.
    "efficientnet_lite0": KnownBackbone(1280, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), _efficientnet_lite0),
    "vgg16": KnownBackbone(512, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), _vgg16),
}


def backbone(stage: Backbone) -> FrozenStatistics:
    """The module of a stage, its weights at random; the global random state stays.

    Raises:
        UnfitStages: no backbone has this name and so many channels, or its package is not installed.
    """
    known = BACKBONES.get(stage.name)
    if known is None or known.channels != stage.channels:
        raise UnfitStages(f"no backbone is called {stage.name!r} and has {stage.channels} channels")
    try:
        with torch.random.fork_rng(devices=[]):
            features = known.build()
    except ImportError as error:
        raise UnfitStages(f"{stage.name} cannot be built: {error}; {MEND}") from error
    return FrozenStatistics(features, middle=torch.tensor(known.middle), spread=torch.tensor(known.spread))
