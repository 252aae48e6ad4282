"""A scorer as an ONNX graph, written from its stages: pixels in, scores out.

The graph is written node by node and not traced: the same network gives the same graph, `onnx` alone is
needed, and the preprocessing is inside it. Whether it computes what the network does, `parity.py` measures.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from selfai_pipeline.errors import InputError
from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.stages import (
    INPUT_CHANNELS,
    INPUT_MIDDLE,
    INPUT_SPREAD,
    Backbone,
    Convolution,
    Head,
    MaxPool,
)

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

OPSET = 17
"""Read by onnxruntime from 1.12 on."""
IR_VERSION = 8
INPUT, OUTPUT = "pixels", "score"
BATCH = "batch"
OPERATORS = frozenset(
    ("Cast", "Transpose", "Mul", "Add", "Sub", "Conv", "Elu", "MaxPool", "GlobalAveragePool")
) | {"Concat", "Flatten", "Gemm", "ReduceMean", "Reshape", "Slice", "Squeeze"}
"""All that a graph of ours is made of."""


def onnx_graph(network: Network, *, input_size: int) -> bytes:
    """The network as a serialized ONNX model.

    Input `pixels` [batch, size, size, 3] uint8 RGB, an aligned crop each; output `score` [batch] float32, on
    the crowd's scale, not clipped. The batch is free, the size fixed.

    Raises:
        InputError: the network has no head, or a backbone of others as its trunk.
    """
    from onnx import TensorProto, helper, numpy_helper

    if network.head is None or isinstance(network.stages[0], Backbone):
        raise InputError(
            "an ONNX graph is written of a scorer whose layers are its own, and this one has "
            + ("no output" if network.head is None else "a trunk of another project"),
            where="stages",
            mend="Release a checkpoint of finetuned_scorer.",
        )
    constants: dict[str, Any] = {
        "gain": np.float32(1.0 / (255.0 * INPUT_SPREAD)),
        "offset": np.float32(-INPUT_MIDDLE / INPUT_SPREAD),
        "one": np.array([1], np.int64),
        # From the last column to the one before the first: backwards there is no other way to write it.
        "last": np.array([-1], np.int64),
        "before_first": np.array([-(2**31)], np.int64),
        "width_axis": np.array([3], np.int64),
        "two_rows": np.array([2, -1], np.int64),
    }
    weights = {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}
    nodes = _preprocessing(mirrored=network.mirrored) + _layers(network, constants)
    shape: list[str | int | None] = [BATCH, input_size, input_size, INPUT_CHANNELS]
    pixels = helper.make_tensor_value_info(INPUT, TensorProto.UINT8, shape)
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "selfai-scorer",
        [pixels],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [BATCH])],
        [
            numpy_helper.from_array(np.ascontiguousarray(value), name)
            for name, value in {**constants, **weights}.items()
            if name in used
        ],
    )
    model: ModelProto = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="selfai",
        doc_string="Impressions of a crowd, not facts about people; not for decisions about anyone.",
    )
    return bytes(model.SerializeToString(deterministic=True))


def _preprocessing(*, mirrored: bool) -> "list[NodeProto]":
    """From bytes, channels last, to the network's input: (p / 255 - middle) / spread.

    Args:
        mirrored: the mirror images follow behind the pictures, in the same batch.
    """
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Cast", [INPUT], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["real"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["planes", "gain"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offset"], ["pictures" if mirrored else "stage_0"]),
    ]
    if mirrored:
        ends = ["last", "before_first", "width_axis", "last"]
        nodes += [
            helper.make_node("Slice", ["pictures", *ends], ["mirror_images"]),
            helper.make_node("Concat", ["pictures", "mirror_images"], ["stage_0"], axis=0),
        ]
    return nodes


def _layers(network: Network, constants: dict[str, Any]) -> "list[NodeProto]":
    """The stages one by one; what a layer's `shift` takes off is added to `constants`."""
    from onnx import helper

    nodes = []
    here = "stage_0"

    def append(kind: str, *inputs: str, name: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, [here, *inputs], [name], **attributes))
        return name

    for number, stage in enumerate(network.stages, start=1):
        name = f"stage_{number}"
        if isinstance(stage, Convolution):
            layer, border = f"layers.{stage.name}", stage.kernel // 2
            here = append("Conv", f"{layer}.weight", f"{layer}.bias", name=f"{name}_sum", pads=[border] * 4)
            here = append("Elu", name=f"{name}_elu" if stage.shift else name, alpha=1.0)
            if stage.shift:
                constants[f"{name}_shift"] = np.float32(stage.shift)
                here = append("Sub", f"{name}_shift", name=name)
        elif isinstance(stage, MaxPool):
            size = [stage.size, stage.size]
            here = append("MaxPool", name=name, kernel_shape=size, strides=size)
        elif isinstance(stage, Head):
            here = append("Gemm", "head.weight", "head.bias", name=name, transB=1)
            if stage.mirrored:
                here = append("Reshape", "two_rows", name=f"{name}_rows")
                here = append("ReduceMean", name=OUTPUT, axes=[0], keepdims=0)
            else:
                here = append("Squeeze", "one", name=OUTPUT)
        else:
            here = append("GlobalAveragePool", name=f"{name}_mean")
            here = append("Flatten", name=name, axis=1)
    return nodes
