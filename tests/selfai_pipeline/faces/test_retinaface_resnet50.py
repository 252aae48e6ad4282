"""RetinaFace with a ResNet-50: random weights, as no trained ones come with the project."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from selfai_pipeline.errors import InputError
from selfai_pipeline.faces.anchors import anchors
from selfai_pipeline.faces.detector import Detector
from selfai_pipeline.faces.retinaface_resnet50 import RetinaFaceResNet50, load_resnet50
from selfai_pipeline.faces.settings import Backbone, DetectorSettings

State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def network() -> RetinaFaceResNet50:
    torch.manual_seed(0)
    return RetinaFaceResNet50().eval()


@pytest.fixture
def state(network: RetinaFaceResNet50) -> State:
    return dict(network.state_dict())


def test_it_has_the_size_and_the_names_of_the_published_architecture(state: State) -> None:
    assert 27_200_000 < sum(values.numel() for values in state.values()) < 27_400_000
    for name, shape in {
        "body.conv1.weight": (64, 3, 7, 7),
        "body.layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "body.layer4.2.bn3.running_var": (2048,),
        "fpn.output1.0.weight": (256, 512, 1, 1),
        "fpn.merge2.1.weight": (256,),
        "ssh1.conv3X3.0.weight": (128, 256, 3, 3),
        "ssh3.conv7x7_3.0.weight": (64, 64, 3, 3),
        "ClassHead.0.conv1x1.bias": (4,),
        "BboxHead.2.conv1x1.weight": (8, 256, 1, 1),
        "LandmarkHead.1.conv1x1.weight": (20, 256, 1, 1),
    }.items():
        assert state[name].shape == shape


def test_there_is_an_output_for_each_anchor(network: RetinaFaceResNet50) -> None:
    with torch.inference_mode():
        boxes, scores, landmarks = network(torch.zeros(2, 3, 96, 136))
    count = len(anchors(96, 136))
    assert (boxes.shape, landmarks.shape) == ((2, count, 4), (2, count, 10))
    assert torch.allclose(scores.sum(dim=2), torch.ones(2, count))


def as_safetensors(state: State, path: Path) -> Path:
    safetensors.torch.save_file(state, path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors")


def as_parallel_training_left_it(state: State, path: Path) -> Path:
    named = {f"module.{name}": values for name, values in state.items() if "num_batches" not in name}
    torch.save({"state_dict": named, "epoch": 100}, path.with_suffix(".pth"))
    return path.with_suffix(".pth")


@pytest.mark.parametrize("save", [as_safetensors, as_parallel_training_left_it])
def test_what_was_saved_is_loaded_and_detects(
    state: State, network: RetinaFaceResNet50, tmp_path: Path, save: Callable[[State, Path], Path]
) -> None:
    path = str(save(state, tmp_path / "weights"))
    loaded = load_resnet50(path)
    values = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        for ours, theirs in zip(loaded(values), network(values), strict=True):
            assert torch.equal(ours, theirs)
    detector = Detector.load(DetectorSettings(backbone=Backbone.RESNET50, weights=path))
    assert detector.engine.name.startswith("torch")
    (faces,) = detector.detect([np.zeros((60, 60, 3), dtype=np.uint8)], min_score=0.01)
    assert faces


def test_without_a_file_it_says_what_is_missing() -> None:
    with pytest.raises(InputError, match=r"detector\.weights: .* name a file"):
        Detector.load(DetectorSettings(backbone=Backbone.RESNET50))


def without_a_name(state: State) -> object:
    return {name: values for name, values in state.items() if name != "fpn.merge1.0.weight"}


def with_a_name_too_much(state: State) -> object:
    return state | {"fc.weight": torch.zeros(1)}


def of_another_shape(state: State) -> object:
    return state | {"body.conv1.weight": torch.zeros(64, 3, 3, 3)}


def not_finite(state: State) -> object:
    return state | {"ssh2.conv3X3.1.bias": torch.full((128,), torch.nan)}


def of_integers(state: State) -> object:
    return state | {"ssh2.conv3X3.1.bias": torch.zeros(128, dtype=torch.int64)}


def no_state_dict(state: State) -> object:
    return [1, 2]


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (without_a_name, r"1 of its tensors are missing, such as fpn\.merge1\.0\.weight"),
        (with_a_name_too_much, r"1 of its tensors are too much, such as fc\.weight"),
        (of_another_shape, r"body\.conv1\.weight has the shape \[64, 3, 3, 3\] instead of \[64, 3, 7, 7\]"),
        (not_finite, r"ssh2\.conv3X3\.1\.bias holds numbers that are not finite"),
        (of_integers, r"ssh2\.conv3X3\.1\.bias holds no real numbers"),
        (no_state_dict, "it is no state dict"),
    ],
)
def test_what_does_not_fit_is_refused(
    state: State, tmp_path: Path, spoil: Callable[[State], object], problem: str
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(spoil(state), path)
    with pytest.raises(InputError, match=problem):
        load_resnet50(str(path))


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1 / 0",)


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_a_file_that_would_run_code_is_refused_unrun(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(pickle.dumps({"state_dict": Hostile()}))
    with pytest.raises(InputError, match=r"the weights of the detector cannot be used"):
        load_resnet50(str(path))
