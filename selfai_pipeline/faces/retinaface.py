"""RetinaFace with a MobileNet-0.25 backbone, in torch, with the published weights.

Deng et al., "RetinaFace: Single-stage Dense Face Localisation in the Wild", CVPR 2020. Batch
normalisation is folded into the convolutions, as in the published ONNX file.
"""

import torch
from torch import nn
from torch.nn import functional

from selfai_pipeline.faces.anchors import STRIDES
from selfai_pipeline.faces.weights import onnx_bytes, unreadable

_SLOPE = 0.1
_WIDTH = 64


def _convolution(
    inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups)


def _separable(inputs: int, outputs: int, *, stride: int = 1) -> nn.Sequential:
    """A depth-wise convolution and a point-wise one, each with its activation."""
    return nn.Sequential(
        _convolution(inputs, inputs, stride=stride, groups=inputs),
        nn.LeakyReLU(_SLOPE),
        _convolution(inputs, outputs, kernel=1),
        nn.LeakyReLU(_SLOPE),
    )


class ContextModule(nn.Module):
    """Three branches that see 3, 5 and 7 pixels (the "SSH" of Najibi et al., ICCV 2017).

    64 channels go in and come out. In the ONNX graph the first convolution of the two wider branches
    stands twice, with the same weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.narrow = _convolution(_WIDTH, _WIDTH // 2)
        self.shared = _convolution(_WIDTH, _WIDTH // 4)
        self.middle = _convolution(_WIDTH // 4, _WIDTH // 4)
        self.wide_first = _convolution(_WIDTH // 4, _WIDTH // 4)
        self.wide_second = _convolution(_WIDTH // 4, _WIDTH // 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shared = functional.leaky_relu(self.shared(x), _SLOPE)
        wide = self.wide_second(functional.leaky_relu(self.wide_first(shared), _SLOPE))
        return torch.cat([self.narrow(x), self.middle(shared), wide], dim=1).relu_()


class RetinaFace(nn.Module):
    """The detector's network: pictures to raw boxes, scores and landmarks an anchor."""

    def __init__(self) -> None:
        super().__init__()
        self.stage1 = nn.Sequential(
            _convolution(3, 8, stride=2),
            nn.LeakyReLU(_SLOPE),
            _separable(8, 16),
            _separable(16, 32, stride=2),
            _separable(32, 32),
            _separable(32, 64, stride=2),
            _separable(64, 64),
        )
        self.stage2 = nn.Sequential(_separable(64, 128, stride=2), *(_separable(128, 128) for _ in range(5)))
        self.stage3 = nn.Sequential(_separable(128, 256, stride=2), _separable(256, 256))
        self.lateral = nn.ModuleList(_convolution(width, _WIDTH, kernel=1) for width in (64, 128, 256))
        self.merge2 = _convolution(_WIDTH, _WIDTH)
        self.merge1 = _convolution(_WIDTH, _WIDTH)
        self.context = nn.ModuleList(ContextModule() for _ in STRIDES)
        self.score_heads = nn.ModuleList(_convolution(_WIDTH, 2 * 2, kernel=1) for _ in STRIDES)
        self.box_heads = nn.ModuleList(_convolution(_WIDTH, 2 * 4, kernel=1) for _ in STRIDES)
        self.landmark_heads = nn.ModuleList(_convolution(_WIDTH, 2 * 10, kernel=1) for _ in STRIDES)

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Raw outputs of every anchor, in the order of `anchors`.

        Args:
            pictures: float32 or bfloat16 [n, 3, h, w], BGR in 0..255 less `MEAN_BGR`.

        Returns:
            Boxes [n, anchors, 4] and landmarks [n, anchors, 10] as offsets to the anchors, and the
            probabilities [n, anchors, 2] of background and face.
        """
        fine = self.stage1(pictures)
        middle = self.stage2(fine)
        coarse = self.stage3(middle)
        level1, level2, level3 = (
            functional.leaky_relu(convolution(features), _SLOPE)
            for convolution, features in zip(self.lateral, (fine, middle, coarse), strict=True)
        )
        level2 = self._merged(self.merge2, level2, level3)
        level1 = self._merged(self.merge1, level1, level2)
        levels = (level1, level2, level3)
        features = [context(level) for context, level in zip(self.context, levels, strict=True)]
        boxes = by_anchor(self.box_heads, features, values=4)
        landmarks = by_anchor(self.landmark_heads, features, values=10)
        scores = by_anchor(self.score_heads, features, values=2).float().softmax(dim=2)
        return boxes, scores, landmarks

    @staticmethod
    def _merged(convolution: nn.Module, finer: torch.Tensor, coarser: torch.Tensor) -> torch.Tensor:
        enlarged = functional.interpolate(coarser, size=finer.shape[2:], mode="nearest")
        return functional.leaky_relu(convolution(finer + enlarged), _SLOPE)


def by_anchor(heads: nn.ModuleList, features: list[torch.Tensor], *, values: int) -> torch.Tensor:
    maps = (head(level) for head, level in zip(heads, features, strict=True))
    return torch.cat([each.permute(0, 2, 3, 1).reshape(len(each), -1, values) for each in maps], dim=1)


def load_retinaface(path: str = "") -> RetinaFace:
    """The network with the published weights, or with those of another ONNX file of the same architecture.

    Raises:
        MissingDetector, AlteredVersion: as `published_weights`.
        InputError: the file cannot be read, or has another architecture.
    """
    import onnx
    from onnx import numpy_helper

    content = onnx_bytes(path)
    try:
        graph = onnx.load_from_string(content).graph
    except Exception as error:  # any: what protobuf raises is no part of onnx
        raise unreadable(path, "it is no ONNX file") from error
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    repeated = {node.output[0] for node in graph.node if node.op_type == "Identity"}
    stored = [
        [torch.from_numpy(arrays[name].copy()) for name in node.input[1:]]
        for node in convolutions
        if node.input[1] not in repeated
    ]
    network = RetinaFace()
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    shapes = [[layer.weight.shape, layer.bias.shape] for layer in layers if layer.bias is not None]
    if [[tensor.shape for tensor in pair] for pair in stored] != shapes:
        raise unreadable(path, "they do not belong to RetinaFace with a MobileNet-0.25 backbone")
    if not all(bool(torch.isfinite(tensor).all()) for pair in stored for tensor in pair):
        raise unreadable(path, "some of them are not finite")
    with torch.no_grad():
        for layer, (weight, bias) in zip(layers, stored, strict=True):
            layer.weight.copy_(weight)
            assert layer.bias is not None
            layer.bias.copy_(bias)
    return network.eval().requires_grad_(False)
