"""The detector takes its device from `compute`, and says what it ran on."""

import pytest

from resources.compute import Compute
from resources.detector import FaceDetector, describe_run
from selfai_pipeline.errors import InputError
from selfai_pipeline.faces.settings import Backbone, EngineName, NumberFormat


def test_on_a_processor_onnxruntime_runs_it_whatever_training_computes_in() -> None:
    compute = Compute(device="cpu", precision="bfloat16", threads=4)
    detector = FaceDetector().load(compute)
    found = describe_run(detector, compute, workers=2)
    assert set(compute.describe()) < set(found)
    assert found["engine"].startswith("onnxruntime ")
    assert (found["device"], found["precision"]) == ("cpu", "float32")
    assert (found["threads"], found["workers"]) == (1, 2)


def test_engine_and_number_format_are_settings() -> None:
    compute = Compute(device="cpu")
    settings = FaceDetector(engine=EngineName.TORCH, precision=NumberFormat.BFLOAT16)
    found = describe_run(settings.load(compute), compute, workers=1)
    assert found["engine"].startswith("torch ")
    assert found["precision"] == "bfloat16"


def test_own_weights_that_are_not_there_are_named() -> None:
    settings = FaceDetector(backbone=Backbone.RESNET50, weights="absent.safetensors")
    with pytest.raises(InputError, match=r"absent\.safetensors: the weights of the detector cannot be used"):
        settings.load(Compute(device="cpu"))


def test_a_device_that_is_absent_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(InputError, match=r"compute\.device: no cuda device was found"):
        FaceDetector().load(Compute(device="cuda"))
