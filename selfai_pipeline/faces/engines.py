"""What the detector's network runs on: onnxruntime or torch, behind one call.

Both take pictures of one size and give the raw outputs of every anchor. They differ in the last digits only
(float32; docs/faces.md has the bounds), and each gives a picture the same outputs whatever its neighbours in
the batch: onnxruntime has one at a time, and torch is always given a full batch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from selfai_pipeline.errors import InputError, SelfaiError
from selfai_pipeline.faces.anchors import MEAN_BGR, anchors
from selfai_pipeline.faces.settings import Backbone, DetectorSettings, EngineName, NumberFormat
from selfai_pipeline.faces.weights import MissingDetector, onnx_bytes, unreadable

if TYPE_CHECKING:
    import torch

Pixels = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float32]


class Raw(NamedTuple):
    """Outputs of every anchor, in the order of `anchors`: offsets of boxes [n, anchors, 4] and of landmarks
    [n, anchors, 10], and the probability of a face [n, anchors]."""

    boxes: Values
    scores: Values
    landmarks: Values


class DetectorFailed(SelfaiError):
    """What came out of the network are no numbers that a face could be read from."""


class Engine(Protocol):
    """Runs the network.

    Attributes:
        name: the library with its version, the device's type and the number format.
        device: as torch names its type: cpu, cuda, mps.
        precision: float32 or bfloat16.
        batch_size: pictures that it is fastest with.
        one_size: whether all pictures of a look are to have one size, so that its batches are full.
    """

    name: str
    device: str
    precision: str
    batch_size: int
    one_size: bool

    def run(self, pictures: Pixels, *, batch_size: int) -> Raw:
        """The outputs for uint8 [n, height, width, 3] RGB, at most `batch_size` of them."""


def load_engine(settings: DetectorSettings, *, device: str) -> Engine:
    """The engine that the settings ask for; `auto` is onnxruntime where it can be, torch anywhere else.

    Args:
        device: where torch computes: cpu, cuda or mps. onnxruntime is always on the processor.

    Raises:
        MissingDetector, AlteredVersion: as `published_weights`.
        InputError: the weights or the device cannot be had, or the engine does not run what is asked for.
    """
    is_graph = settings.backbone is Backbone.MOBILENET and settings.precision is NumberFormat.FLOAT32
    chosen = settings.engine
    if chosen is EngineName.AUTO:
        chosen = EngineName.ONNXRUNTIME if device == "cpu" and is_graph else EngineName.TORCH
    if chosen is EngineName.TORCH:
        return TorchEngine.load(settings, device=device)
    if not is_graph:
        raise InputError(
            f"onnxruntime does not run {settings.backbone.value} in {settings.precision.value}",
            where="detector.engine",
            mend="Set it to auto or torch.",
        )
    return OnnxEngine.load(settings.weights)


class OnnxEngine:
    """The published graph as it is, in onnxruntime on one thread, a picture at a time.

    A batch gains nothing there, and every picture has a box of its own size.
    """

    device = "cpu"
    precision = "float32"
    batch_size = 8
    one_size = False

    def __init__(self, session: Any) -> None:
        import onnxruntime

        # Its packages have several names, onnxruntime-gpu among them.
        self.name = f"onnxruntime {onnxruntime.__version__}, cpu, float32"
        self._session = session

    @classmethod
    def load(cls, path: str = "") -> "OnnxEngine":
        """The published graph, or that of another ONNX file with the same inputs and outputs.

        Raises:
            MissingDetector, AlteredVersion, InputError: as `load_engine`.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingDetector(
                "onnxruntime is not installed: run `pip install onnxruntime`, or set detector.engine to "
                "torch."
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        # It would keep the memory of the largest picture; without it nothing is slower.
        options.enable_cpu_mem_arena = False
        graph = onnx_bytes(path)
        try:
            engine = cls(onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"]))
            outputs = engine.run(np.zeros((1, 64, 32, 3), dtype=np.uint8), batch_size=1)
        except Exception as error:  # any: onnxruntime raises errors of its own, without a common base
            raise unreadable(path, next(iter(str(error).splitlines()), "")) from error
        count = len(anchors(64, 32))
        if [values.shape[1:] for values in outputs] != [(count, 4), (count,), (count, 10)]:
            raise unreadable(path, "it is a graph with other outputs than RetinaFace has")
        if not all(np.isfinite(values).all() for values in outputs):
            raise unreadable(path, "its outputs are not finite")
        return engine

    def run(self, pictures: Pixels, *, batch_size: int) -> Raw:
        """As `Engine.run`."""
        outputs = [
            self._session.run(["loc", "conf", "landmarks"], {"input": network_input(picture[np.newaxis])})
            for picture in pictures
        ]
        boxes, scores, landmarks = (np.concatenate(values) for values in zip(*outputs, strict=True))
        return Raw(boxes, scores[:, :, 1], landmarks)


@dataclass
class TorchEngine:
    """The network in torch, on one thread where it is the processor; batches are always full."""

    network: "torch.nn.Module"
    name: str
    device: str
    precision: str
    batch_size: int
    one_size: bool = True

    @classmethod
    def load(cls, settings: DetectorSettings, *, device: str) -> "TorchEngine":
        """The backbone of the settings on a device.

        Raises:
            MissingDetector, AlteredVersion, InputError: as `load_engine`.
        """
        import torch

        from selfai_pipeline.faces.retinaface import load_retinaface
        from selfai_pipeline.faces.retinaface_resnet50 import load_resnet50

        if device == "cuda" and not torch.cuda.is_available():
            raise InputError(
                "no cuda device was found on this machine",
                where="compute.device",
                mend="Set it to auto or cpu, or run where the device is.",
            )
        loaded: torch.nn.Module = (
            load_resnet50(settings.weights)
            if settings.backbone is Backbone.RESNET50
            else load_retinaface(settings.weights)
        )
        precision = settings.precision.value
        placed: Any = loaded.to(torch.device(device), getattr(torch, precision))
        return cls(
            placed.to(memory_format=torch.channels_last),
            name=f"torch {version('torch')}, {device}, {precision}",
            device=device,
            precision=precision,
            batch_size=8 if device == "cpu" else 64,
        )

    def run(self, pictures: Pixels, *, batch_size: int) -> Raw:
        """As `Engine.run`."""
        import torch

        full = np.zeros((batch_size, *pictures.shape[1:]), dtype=np.uint8)
        full[: len(pictures)] = pictures
        with _exactly(), torch.inference_mode():
            values = torch.from_numpy(full).to(self.device).permute(0, 3, 1, 2).flip(1)
            values = values.to(next(self.network.parameters()).dtype)
            values -= torch.tensor(MEAN_BGR, dtype=values.dtype, device=values.device)[:, None, None]
            outputs = self.network(values.contiguous(memory_format=torch.channels_last))
            boxes, scores, landmarks = (each[: len(pictures)].float().cpu().numpy() for each in outputs)
        return Raw(boxes, scores[:, :, 1], landmarks)


def network_input(pictures: Pixels) -> Values:
    """Pictures [n, height, width, 3] RGB as the network takes them: float32 [n, 3, height, width] BGR, less
    the mean."""
    values = np.empty((len(pictures), 3, *pictures.shape[1:3]), dtype=np.float32)
    for channel, mean in enumerate(MEAN_BGR):
        np.subtract(pictures[..., 2 - channel], np.float32(mean), out=values[:, channel])
    return values


@contextmanager
def _exactly() -> Iterator[None]:
    """One thread of torch on the processor, as several processes share its cores; on CUDA no TensorFloat-32,
    which has 10 bits in place of float32's 23, and the same algorithm for the same sizes."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_num_threads(before)
