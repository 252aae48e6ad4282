"""Whether an ONNX graph computes what the network does: onnxruntime against torch, measured at export."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from selfai_pipeline.errors import AlteredVersion, InputError
from selfai_pipeline.networks.network import Network
from selfai_pipeline.release.onnx_graph import INPUT, OPERATORS, OUTPUT
from selfai_pipeline.training.augmentation import normalise
from selfai_pipeline.training.inference import as_vectors

Pixels = npt.NDArray[np.uint8]

SEED = 20_26
BATCH_SIZES = (1, 7)
"""Sizes on which the free batch is tried beside the usual one."""


@dataclass(frozen=True)
class Parity:
    """How far the two differ.

    Attributes:
        faces, random: how many test faces and how many pictures of random pixels they were compared on.
        largest_difference, mean_difference: of scores, points.
        tolerance: what the largest may be, points.
        onnxruntime, torch: versions.
    """

    faces: int
    random: int
    largest_difference: float
    mean_difference: float
    tolerance: float
    batch_sizes: tuple[int, ...]
    onnxruntime: str
    torch: str

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "batch_sizes": list(self.batch_sizes)}


def random_pixels(n: int, *, input_size: int) -> Pixels:
    """Pictures [n, size, size, 3] uint8 of random pixels, the same at every call."""
    return np.random.default_rng(SEED).integers(0, 256, (n, input_size, input_size, 3), dtype=np.uint8)


def measure_parity(
    graph: bytes,
    network: Network,
    *,
    faces: Pixels,
    random: Pixels,
    tolerance: float,
    batch_size: int,
) -> Parity:
    """Score all pictures with both, in float32 on the processor.

    Args:
        graph: a serialized ONNX model.
        network: on the CPU, in evaluation mode.
        faces, random: pictures [n, size, size, 3] RGB uint8 of the network's input size; n may be 0.

    Raises:
        InputError: the two differ by more than `tolerance`, or a score is not finite.
        AlteredVersion: onnxruntime cannot read the graph.
    """
    import onnxruntime

    pictures = np.concatenate([faces, random])
    session = opened(graph)
    sizes = [*BATCH_SIZES, batch_size]
    differences = []
    for size in sizes:
        some = pictures if size == batch_size else pictures[:size]
        for start in range(0, len(some), size):
            batch = some[start : start + size]
            (ours,) = session.run([OUTPUT], {INPUT: batch})
            with torch.inference_mode():
                theirs = as_vectors(network(normalise(torch.from_numpy(np.ascontiguousarray(batch)))))
            if ours.shape != theirs.shape:
                raise InputError(
                    f"it gives scores of the shape {list(ours.shape)} for {len(batch)} pictures",
                    where="model.onnx",
                    mend="Nothing was released: this is a defect of the export.",
                )
            differences.append(np.abs(ours.astype(np.float64) - theirs))
    everything = np.concatenate(differences)
    # Of a score that is not finite the difference is none, and is never below the tolerance.
    if not bool((everything <= tolerance).all()):
        raise InputError(
            f"its scores differ from those of the network by up to {float(np.max(everything)):.2e} points, "
            f"{tolerance:.0e} is the tolerance",
            where="model.onnx",
            mend="Nothing was released. Raise onnx_tolerance if that is exact enough, or report a defect.",
        )
    return Parity(
        faces=len(faces),
        random=len(random),
        largest_difference=float(everything.max()),
        mean_difference=float(everything.mean()),
        tolerance=tolerance,
        batch_sizes=tuple(sizes),
        onnxruntime=onnxruntime.__version__,
        torch=torch.__version__,
    )


def opened(graph: bytes) -> Any:
    """A session of onnxruntime on one thread of the processor, for a graph that can be hostile.

    Raises:
        AlteredVersion: it is none of ours: other operators, functions of its own, or data outside of it.
    """
    import onnx
    import onnxruntime

    try:
        model = onnx.load_from_string(graph)
    except Exception as error:  # any: protobuf raises errors of its own
        raise AlteredVersion("model.onnx: it is no ONNX graph. Release the model again.") from error
    foreign = {node.op_type for node in model.graph.node} - OPERATORS
    external = any(one.data_location == onnx.TensorProto.EXTERNAL for one in model.graph.initializer)
    if foreign or external or model.functions or any(node.domain for node in model.graph.node):
        what = ", ".join(sorted(foreign)) or "data or functions of another kind"
        raise AlteredVersion(
            f"model.onnx: it holds what a graph of Selfai does not ({what}). Release the model again."
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # any: onnxruntime raises errors of its own, without a common base
        raise AlteredVersion(f"model.onnx: onnxruntime cannot read it ({error}).") from error
