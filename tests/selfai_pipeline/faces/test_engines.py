"""Both engines give the published network's outputs; which one runs follows the device and the settings."""

import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnx.numpy_helper
import pytest
import torch

from selfai_pipeline.errors import InputError
from selfai_pipeline.faces.engines import Engine, OnnxEngine, TorchEngine, load_engine, network_input
from selfai_pipeline.faces.settings import Backbone, DetectorSettings, EngineName, NumberFormat
from selfai_pipeline.faces.weights import MissingDetector, published_weights

Pixels = npt.NDArray[np.uint8]

ENGINES = {
    "onnxruntime": DetectorSettings(engine=EngineName.ONNXRUNTIME),
    "torch": DetectorSettings(engine=EngineName.TORCH),
    "torch, bfloat16": DetectorSettings(engine=EngineName.TORCH, precision=NumberFormat.BFLOAT16),
}


@pytest.fixture(scope="module")
def engines() -> dict[str, Engine]:
    return {name: load_engine(settings, device="cpu") for name, settings in ENGINES.items()}


def noise(count: int, height: int = 96, width: int = 160) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def test_the_input_is_bgr_less_the_mean() -> None:
    picture = np.zeros((1, 2, 3, 3), dtype=np.uint8)
    picture[..., 0] = 255
    values = network_input(picture)
    assert values.shape == (1, 3, 2, 3)
    assert values.dtype == np.float32
    assert values[0, :, 0, 0].tolist() == [-104, -117, 255 - 123]


def test_both_engines_agree_to_1e_4(engines: dict[str, Engine]) -> None:
    reference, found = (engines[name].run(noise(3), batch_size=4) for name in ("onnxruntime", "torch"))
    for ours, theirs in zip(found, reference, strict=True):
        assert ours.shape == theirs.shape
        assert ours.dtype == np.float32
        assert np.abs(ours - theirs).max() < 1e-4


def test_bfloat16_is_near(engines: dict[str, Engine], draw_face: object) -> None:
    assert callable(draw_face)
    picture = draw_face(size=256)[np.newaxis]
    exact, near = (engines[name].run(picture, batch_size=1) for name in ("torch", "torch, bfloat16"))
    assert 0 < np.abs(exact.scores - near.scores).max() < 0.1
    best = exact.scores[0].argmax()
    assert np.abs(exact.landmarks[0, best] - near.landmarks[0, best]).max() < 0.1


@pytest.mark.parametrize("name", ENGINES)
def test_a_picture_has_the_same_outputs_to_the_bit_whatever_its_neighbours(
    engines: dict[str, Engine], name: str
) -> None:
    pictures = noise(5)
    together = engines[name].run(pictures, batch_size=8)
    for index in (0, 3, 4):
        alone = engines[name].run(pictures[index : index + 1], batch_size=8)
        for one, all_of_them in zip(alone, together, strict=True):
            assert np.array_equal(one[0], all_of_them[index])


def test_auto_takes_onnxruntime_on_a_processor_where_it_has_the_graph() -> None:
    chosen = load_engine(DetectorSettings(), device="cpu")
    assert isinstance(chosen, OnnxEngine)
    assert (chosen.device, chosen.precision) == ("cpu", "float32")
    in_bfloat16 = load_engine(DetectorSettings(precision=NumberFormat.BFLOAT16), device="cpu")
    assert isinstance(in_bfloat16, TorchEngine)
    assert (in_bfloat16.device, in_bfloat16.precision) == ("cpu", "bfloat16")
    assert in_bfloat16.name.startswith("torch ")


@pytest.mark.parametrize(
    "settings", [{"precision": NumberFormat.BFLOAT16}, {"backbone": Backbone.RESNET50, "weights": "own.pth"}]
)
def test_onnxruntime_does_not_run_everything(settings: dict[str, object]) -> None:
    chosen = DetectorSettings(engine=EngineName.ONNXRUNTIME, **settings)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"detector\.engine: onnxruntime does not run .* auto or torch"):
        load_engine(chosen, device="cpu")


def test_own_weights_of_the_same_graph_are_run(tmp_path: Path) -> None:
    path = tmp_path / "own.onnx"
    path.write_bytes(published_weights())
    for name in (EngineName.ONNXRUNTIME, EngineName.TORCH):
        own = load_engine(DetectorSettings(engine=name, weights=str(path)), device="cpu")
        published = load_engine(DetectorSettings(engine=name), device="cpu")
        for ours, theirs in zip(
            own.run(noise(1), batch_size=1), published.run(noise(1), batch_size=1), strict=True
        ):
            assert np.array_equal(ours, theirs)


def test_a_graph_with_other_outputs_is_refused(tmp_path: Path) -> None:
    model = onnx.load_from_string(published_weights())
    loc, conf, _ = model.graph.output
    for output in (loc, conf):
        other = "conf" if output.name == "loc" else "loc"
        for node in model.graph.node:
            node.output[:] = [f"{other}_" if name == output.name else name for name in node.output]
    for node in model.graph.node:
        node.output[:] = [name.removesuffix("_") for name in node.output]
    path = tmp_path / "exchanged.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=r"exchanged\.onnx: the weights .* other outputs"):
        load_engine(DetectorSettings(engine=EngineName.ONNXRUNTIME, weights=str(path)), device="cpu")


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.onnx"
    path.write_text("no graph")
    with pytest.raises(InputError, match=r"text\.onnx: the weights .* cannot be used"):
        load_engine(DetectorSettings(weights=str(path)), device="cpu")


@pytest.mark.parametrize("engine", [EngineName.ONNXRUNTIME, EngineName.TORCH])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, engine: EngineName) -> None:
    model = onnx.load_from_string(published_weights())
    weights = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 4)
    broken = onnx.numpy_helper.to_array(weights).copy()
    broken[0, 0, 0, 0] = np.nan
    weights.CopyFrom(onnx.numpy_helper.from_array(broken, weights.name))
    path = tmp_path / "broken.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=r"broken\.onnx: the weights .* not finite"):
        load_engine(DetectorSettings(engine=engine, weights=str(path)), device="cpu")


def test_without_onnxruntime_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDetector, match=r"run `pip install onnxruntime`, or set detector\.engine to t"):
        load_engine(DetectorSettings(), device="cpu")
    assert load_engine(DetectorSettings(engine=EngineName.TORCH), device="cpu").device == "cpu"


def test_onnxruntime_may_be_installed_under_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("selfai_pipeline.faces.engines.version", version)
    assert load_engine(DetectorSettings(), device="cpu").name.startswith("onnxruntime 1.")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_agrees_to_1e_4(engines: dict[str, Engine]) -> None:
    there = load_engine(DetectorSettings(), device="cuda")
    assert (there.device, there.precision) == ("cuda", "float32")
    for ours, theirs in zip(
        there.run(noise(3), batch_size=4), engines["onnxruntime"].run(noise(3), batch_size=4), strict=True
    ):
        assert np.abs(ours - theirs).max() < 1e-4
