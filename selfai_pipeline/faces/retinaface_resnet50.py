"""RetinaFace with a ResNet-50 backbone, in torch, for weights of one's own.

The architecture is that of the repository Pytorch_Retinaface, whose names the state dict has: a ResNet-50
(`body`), a feature pyramid of 256 channels over its last three stages (`fpn`), a context module on each level
(`ssh1` to `ssh3`) and the heads.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional

from selfai_pipeline.faces.anchors import STRIDES
from selfai_pipeline.faces.retinaface import by_anchor
from selfai_pipeline.faces.weights import unreadable

_WIDTH = 256
_UNREAD = "num_batches_tracked"
"""A count beside each batch normalisation that nothing reads; older files lack it."""


def _unit(inputs: int, outputs: int, kernel: int, *, active: bool = True) -> nn.Sequential:
    layers = [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if active else []))


class Bottleneck(nn.Module):
    """A residual block: 1x1, 3x3 (with the stride), 1x1, and four times the width."""

    def __init__(self, inputs: int, width: int, *, stride: int, projects: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width))
            if projects
            else None
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = x if self.downsample is None else self.downsample(x)
        x = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        x = functional.relu(self.bn2(self.conv2(x)), inplace=True)
        return functional.relu(self.bn3(self.conv3(x)) + kept, inplace=True)


class ResNet50(nn.Module):
    """He et al., "Deep residual learning for image recognition", CVPR 2016: the outputs of its last three
    stages."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = self._stage(64, 64, blocks=3, stride=1)
        self.layer2 = self._stage(256, 128, blocks=4, stride=2)
        self.layer3 = self._stage(512, 256, blocks=6, stride=2)
        self.layer4 = self._stage(1024, 512, blocks=3, stride=2)

    @staticmethod
    def _stage(inputs: int, width: int, *, blocks: int, stride: int) -> nn.Sequential:
        first = Bottleneck(inputs, width, stride=stride, projects=True)
        others = (Bottleneck(4 * width, width, stride=1, projects=False) for _ in range(blocks - 1))
        return nn.Sequential(first, *others)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        x = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        fine = self.layer2(self.layer1(functional.max_pool2d(x, 3, 2, 1)))
        middle = self.layer3(fine)
        return [fine, middle, self.layer4(middle)]


class Pyramid(nn.Module):
    """Brings the three stages to one width, and coarse features down to the finer ones."""

    def __init__(self) -> None:
        super().__init__()
        self.output1, self.output2, self.output3 = (_unit(n, _WIDTH, 1) for n in (512, 1024, 2048))
        self.merge1, self.merge2 = (_unit(_WIDTH, _WIDTH, 3) for _ in range(2))

    def forward(self, stages: list[torch.Tensor]) -> list[torch.Tensor]:
        fine, middle, coarse = (
            output(stage)
            for output, stage in zip((self.output1, self.output2, self.output3), stages, strict=True)
        )
        middle = self.merge2(middle + functional.interpolate(coarse, size=middle.shape[2:]))
        return [self.merge1(fine + functional.interpolate(middle, size=fine.shape[2:])), middle, coarse]


class Context(nn.Module):
    """Three receptive fields side by side."""

    def __init__(self) -> None:
        super().__init__()
        half, quarter = _WIDTH // 2, _WIDTH // 4
        self.conv3X3 = _unit(_WIDTH, half, 3, active=False)
        self.conv5X5_1 = _unit(_WIDTH, quarter, 3)
        self.conv5X5_2 = _unit(quarter, quarter, 3, active=False)
        self.conv7X7_2 = _unit(quarter, quarter, 3)
        self.conv7x7_3 = _unit(quarter, quarter, 3, active=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shared = self.conv5X5_1(x)
        wide = self.conv7x7_3(self.conv7X7_2(shared))
        return torch.cat([self.conv3X3(x), self.conv5X5_2(shared), wide], dim=1).relu_()


class Head(nn.Module):
    """One 1x1 convolution to the values of the two anchors at each place."""

    def __init__(self, values: int) -> None:
        super().__init__()
        self.conv1x1 = nn.Conv2d(_WIDTH, 2 * values, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.conv1x1(x)
        return found


class RetinaFaceResNet50(nn.Module):
    """Pictures to raw boxes, scores and landmarks an anchor; see `RetinaFace.forward`."""

    def __init__(self) -> None:
        super().__init__()
        self.body = ResNet50()
        self.fpn = Pyramid()
        self.ssh1, self.ssh2, self.ssh3 = (Context() for _ in STRIDES)
        self.ClassHead = nn.ModuleList(Head(2) for _ in STRIDES)
        self.BboxHead = nn.ModuleList(Head(4) for _ in STRIDES)
        self.LandmarkHead = nn.ModuleList(Head(10) for _ in STRIDES)

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """As `RetinaFace.forward`."""
        levels = self.fpn(self.body(pictures))
        contexts = zip((self.ssh1, self.ssh2, self.ssh3), levels, strict=True)
        features = [context(level) for context, level in contexts]
        scores = by_anchor(self.ClassHead, features, values=2).float().softmax(dim=2)
        boxes = by_anchor(self.BboxHead, features, values=4)
        return boxes, scores, by_anchor(self.LandmarkHead, features, values=10)


def load_resnet50(path: str) -> RetinaFaceResNet50:
    """The network with the weights of a state dict: a safetensors file, or one of `torch.save`.

    Nothing in the file is run: of the latter only tensors are read (`weights_only`). Names may begin with
    `module.`, as parallel training leaves them, and the whole may lie under `state_dict`.

    Raises:
        InputError: the file cannot be read, or has other names, shapes or number formats.
    """
    if not path:
        raise unreadable("detector.weights", "resnet50 has none that are published: name a file")
    stored = {
        name.removeprefix("module."): values
        for name, values in _state_of(path).items()
        if not name.endswith(_UNREAD)
    }
    network = RetinaFaceResNet50()
    problem = _difference(network.state_dict(), stored)
    if problem:
        raise unreadable(path, f"it does not belong to RetinaFace with a ResNet-50 backbone: {problem}")
    network.load_state_dict(stored, strict=False)
    return network.eval().requires_grad_(False)


def _state_of(path: str) -> Mapping[str, object]:
    try:
        if Path(path).suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, safetensors.SafetensorError) as error:
        first_line = next(iter(str(error).splitlines()), type(error).__name__)
        raise unreadable(path, first_line) from error
    if isinstance(loaded, Mapping):
        inner = loaded.get("state_dict", loaded)
        if isinstance(inner, Mapping) and all(isinstance(name, str) for name in inner):
            return inner
    raise unreadable(path, "it is no state dict")


def _difference(wanted: Mapping[str, torch.Tensor], stored: Mapping[str, object]) -> str:
    """In what the stored state dict differs from that of the network; empty where it fits."""
    needed = {name for name in wanted if not name.endswith(_UNREAD)}
    for problem, names in (("missing", needed - set(stored)), ("too much", set(stored) - needed)):
        if names:
            return f"{len(names)} of its tensors are {problem}, such as {min(names)}"
    for name in sorted(needed):
        values = stored[name]
        if not isinstance(values, torch.Tensor) or not values.is_floating_point():
            return f"{name} holds no real numbers"
        if values.shape != wanted[name].shape:
            return f"{name} has the shape {list(values.shape)} instead of {list(wanted[name].shape)}"
        if not bool(torch.isfinite(values).all()):
            return f"{name} holds numbers that are not finite"
    return ""
