"""The network in torch is the published one, number for number."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from selfai_pipeline.errors import InputError
from selfai_pipeline.faces.anchors import anchors
from selfai_pipeline.faces.retinaface import load_retinaface
from selfai_pipeline.faces.weights import published_weights


@pytest.mark.parametrize("size", [(320, 320), (160, 224), (133, 197)])
def test_raw_outputs_equal_the_onnx_reference(size: tuple[int, int]) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(published_weights(), options, providers=["CPUExecutionProvider"])
    pictures = np.random.default_rng(0).normal(0, 60, (2, 3, *size)).astype(np.float32)
    expected = session.run(["loc", "conf", "landmarks"], {"input": pictures})
    with torch.inference_mode():
        found = load_retinaface()(torch.from_numpy(pictures))
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        assert np.abs(ours.numpy() - theirs).max() < 1e-4


def test_there_is_an_anchor_for_each_output() -> None:
    with torch.inference_mode():
        boxes, scores, landmarks = load_retinaface()(torch.zeros(1, 3, 96, 160))
    grid = anchors(96, 160)
    assert boxes.shape == (1, len(grid), 4)
    assert scores.shape == (1, len(grid), 2)
    assert landmarks.shape == (1, len(grid), 10)
    assert grid[0].tolist() == [4, 4, 16]
    assert grid[-1].tolist() == [144, 80, 512]


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    model = onnx.load_from_string(published_weights())
    del model.graph.node[-40:]
    path = tmp_path / "other.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="MobileNet"):
        load_retinaface(str(path))


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.onnx"
    path.write_text("no graph")
    with pytest.raises(InputError, match=r"text\.onnx.* no ONNX file"):
        load_retinaface(str(path))
