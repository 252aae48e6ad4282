"""The ONNX graph computes what the network does, on any batch, and a graph of another kind is refused."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from selfai_pipeline.errors import AlteredVersion, InputError
from selfai_pipeline.networks.net2net import deepen, widen
from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.stages import (
    Backbone,
    Convolution,
    GlobalAveragePool,
    Head,
    MaxPool,
    tiny_darknet,
    with_head,
)
from selfai_pipeline.release.onnx_graph import OPERATORS, OPSET, onnx_graph
from selfai_pipeline.release.parity import measure_parity, opened, random_pixels
from selfai_pipeline.training.augmentation import normalise

SIDE = 32
NONE = np.empty((0, SIDE, SIDE, 3), np.uint8)


def scorer(stages=None, *, seed=1) -> Network:
    network = Network(with_head(tiny_darknet(0.25)) if stages is None else stages, seed=seed).eval()
    with torch.no_grad():
        assert network.head is not None
        network.head.weight.normal_(0, 3, generator=torch.Generator().manual_seed(seed))
        network.head.bias.fill_(4.5)
    return network


def mirrored() -> Network:
    return scorer(with_head(tiny_darknet(0.25), mirrored=True))


def grown() -> Network:
    generator = torch.Generator().manual_seed(0)
    deeper = deepen(scorer(), "conv13").network
    network = widen(deeper, "conv14", 192, imbalance=0.5, generator=generator).network
    return deepen(network, "conv2").network.eval()


def parity(graph: bytes, network: Network, *, tolerance: float = 1e-3, pictures: int = 12):
    return measure_parity(
        graph,
        network,
        faces=NONE,
        random=random_pixels(pictures, input_size=SIDE),
        tolerance=tolerance,
        batch_size=5,
    )


@pytest.mark.parametrize(
    "network",
    [
        scorer(),
        grown(),
        mirrored(),
        scorer(
            (Convolution("one", 6, 5), MaxPool(4), Convolution("two", 3, 1), GlobalAveragePool(), Head(0.0))
        ),
    ],
    ids=["plain", "grown by Net2Net", "with mirror images", "other kernels and pools"],
)
def test_onnxruntime_scores_as_torch_does_and_with_any_batch(network):
    graph = onnx_graph(network, input_size=SIDE)
    onnx.checker.check_model(onnx.load_from_string(graph), full_check=True)
    found = parity(graph, network)
    assert found.largest_difference < 1e-4
    assert found.batch_sizes == (1, 7, 5)
    assert (found.faces, found.random) == (0, 12)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    pixels = random_pixels(3, input_size=SIDE)
    (scores,) = session.run(["score"], {"pixels": pixels})
    with torch.inference_mode():
        expected = network(normalise(torch.from_numpy(pixels))).numpy()
    assert scores.shape == (3,)
    np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_the_same_network_gives_the_same_bytes_in_a_fixed_opset():
    network = grown()
    graph = onnx_graph(network, input_size=SIDE)
    assert graph == onnx_graph(network, input_size=SIDE)
    model = onnx.load_from_string(graph)
    assert [(one.domain, one.version) for one in model.opset_import] == [("", OPSET)]
    assert {node.op_type for node in model.graph.node} <= OPERATORS
    assert [dim.dim_param or dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim] == [
        "batch",
        SIDE,
        SIDE,
        3,
    ]
    assert b"distance_weights" not in graph


def test_a_graph_of_another_network_is_above_the_tolerance():
    with pytest.raises(
        InputError, match=r"differ from those of the network by up to .* 1e-03 is the tolerance"
    ):
        parity(onnx_graph(scorer(seed=2), input_size=SIDE), scorer())


def test_a_score_that_is_no_number_is_no_parity():
    network = scorer()
    with torch.no_grad():
        network.layer("conv1").weight.fill_(float("nan"))
    with pytest.raises(InputError, match="by up to nan points"):
        parity(onnx_graph(network, input_size=SIDE), network)


def test_a_trunk_without_a_head_and_a_backbone_are_refused():
    with pytest.raises(InputError, match="this one has no output"):
        onnx_graph(Network(tiny_darknet(0.25)), input_size=SIDE)
    pytest.importorskip("torchvision")
    with pytest.raises(InputError, match="a trunk of another project"):
        onnx_graph(Network((Backbone("vgg16", 512), GlobalAveragePool(), Head())), input_size=SIDE)


def foreign_graph(operator: str, *, domain: str = "") -> bytes:
    node = helper.make_node(operator, ["pixels"], ["score"], domain=domain)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("pixels", "score")]
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    imports = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.example", 1)]
    return helper.make_model(graph, opset_imports=imports).SerializeToString()


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (b"not a graph", "it is no ONNX graph"),
        (foreign_graph("Loop"), r"does not \(Loop\)"),
        (foreign_graph("Elu", domain="com.example"), "data or functions of another kind"),
    ],
)
def test_a_graph_that_selfai_cannot_have_written_is_not_run(graph, message):
    with pytest.raises(AlteredVersion, match=message):
        opened(graph)


def test_weights_outside_of_the_graph_are_not_fetched():
    model = onnx.load_from_string(onnx_graph(scorer(), input_size=SIDE))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/hostname"
    with pytest.raises(AlteredVersion, match="data or functions of another kind"):
        opened(model.SerializeToString())
