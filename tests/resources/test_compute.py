"""The device is chosen in one place; what a stage ran on is recorded, and enters no hash."""

from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg
import pytest
import torch
from mlflow import MlflowClient

from assets.graph import ALL_ASSETS
from resources.compute import Compute
from resources.environments import resources_for
from selfai_pipeline.environment import Environment
from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Record, TableRef
from selfai_pipeline.training import compute as machine

QUICK = {
    "siamese_checkpoint": {
        "config": {"epochs": 4, "input_size": 32, "width": 0.25, "batch_size": 16, "least_steps": 8}
    },
    "widened_checkpoint": {"config": {"factor": 1.5, "probe_pictures": 2}},
    "finetuned_scorer": {"config": {"epochs": 4, "least_steps": 8}},
    "evaluation_report": {"config": {"bootstrap_draws": 200, "occlusion_mean_faces": 2}},
}
SPLITS = ["train", "train", "validation", "train", "test", "train"] * 12
NAMES = {"torch", "device", "device_name", "precision", "threads", "compile", "deterministic", "processor"}

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")


def run(home: Home, *assets: str, **settings: Any) -> dg.ExecuteInProcessResult:
    resources = {**resources_for(Environment.SAMPLE, home), "compute": Compute(**settings)}
    return dg.materialize(
        ALL_ASSETS,
        selection=dg.AssetSelection.assets(*assets),
        resources=resources,
        run_config={"ops": {name: QUICK[name] for name in assets}},
        raise_on_error=False,
    )


@pytest.fixture
def ready(home: Home, table_of: Callable[..., TableRef]) -> Home:
    """A home with a label table, which training starts from."""
    Store.open(home).tables.point(Record(table_of(SPLITS), code_version="1", settings={}, inputs={}))
    return home


def ran_on(result: dg.ExecuteInProcessResult) -> dict[str, Mapping[str, Any]]:
    return {
        event.asset_key.to_user_string(): event.materialization.metadata["ran_on"].value
        for event in result.get_asset_materialization_events()
    }


@pytest.mark.slow
def test_every_stage_says_what_it_ran_on(ready: Home) -> None:
    result = run(ready, *QUICK, device="cpu", precision="float32", threads=1)
    assert result.success
    found = ran_on(result)
    assert set(found) == set(QUICK)
    for name, machine_of in found.items():
        assert set(machine_of) == NAMES
        assert machine_of["device"] == "cpu"
        assert machine_of["device_name"]
        assert machine_of["threads"] == 1
        assert machine_of["torch"] == torch.__version__
        assert machine_of["precision"] == ("float64" if name == "widened_checkpoint" else "float32")
    client = MlflowClient(f"sqlite:///{ready.mlflow / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("selfai")
    assert experiment is not None
    runs = {one.info.run_name: one for one in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"siamese_checkpoint", "widened_checkpoint", "finetuned_scorer"}
    for name, one in runs.items():
        parameters = {key: value for key, value in one.data.params.items() if key.startswith("compute.")}
        assert parameters == {f"compute.{key}": str(value) for key, value in found[name].items()}


@pytest.mark.slow
def test_where_it_ran_is_in_no_hash(ready: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes, names = [], []
    for device_name in ("one processor", "another processor"):
        monkeypatch.setattr(machine, "_product_name", lambda device, name=device_name: name)
        result = run(ready, *QUICK, device="cpu", precision="float32", threads=1)
        assert result.success
        materializations = [
            event.materialization.metadata for event in result.get_asset_materialization_events()
        ]
        hashes.append([metadata["sha256"].value for metadata in materializations])
        names.append({metadata["ran_on"].value["device_name"] for metadata in materializations})
    assert hashes[0] == hashes[1]
    assert names == [{"one processor"}, {"another processor"}]


def test_the_name_of_the_machine_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.node", lambda: pytest.fail("the host name was asked for"))
    monkeypatch.setattr("socket.gethostname", lambda: pytest.fail("the host name was asked for"))
    assert set(Compute(device="cpu").describe()) == NAMES


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_stage_whose_device_is_absent_says_so_before_it_begins(
    ready: Home, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    result = run(ready, "siamese_checkpoint", device=device)
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    cause = failure.step_failure_data.error.cause
    assert cause.cls_name == InputError.__name__
    assert f"compute.device: no {device} device was found on this machine. Set it to auto" in cause.message
    assert not (ready.mlflow / "mlflow.db").exists(), "an MLflow run was begun"


@pytest.mark.parametrize("native", [True, False])
def test_auto_takes_a_cuda_device_and_the_number_format_it_multiplies(
    monkeypatch: pytest.MonkeyPatch, native: bool
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation=True: native)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "NVIDIA H100")
    found = Compute().describe()
    assert (found["device"], found["device_name"]) == ("cuda", "NVIDIA H100")
    assert found["precision"] == ("bfloat16" if native else "float32")
    assert Compute().describe_processor()["device"] == "cpu"


def test_auto_takes_apples_gpu_where_there_is_no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    monkeypatch.setattr("torch.backends.mps.get_name", lambda: "Apple M3")
    found = Compute().describe()
    assert (found["device"], found["device_name"], found["precision"]) == ("mps", "Apple M3", "float32")


@needs_cuda
@pytest.mark.slow
def test_training_runs_on_a_cuda_device(ready: Home) -> None:
    result = run(ready, "siamese_checkpoint", device="cuda")
    assert result.success
    assert ran_on(result)["siamese_checkpoint"]["device_name"] == torch.cuda.get_device_name()
