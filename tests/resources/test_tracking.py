"""What training leaves in a real MLflow: every run ends, and a checkpoint is registered once."""

import fcntl
import threading
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from resources.instance import is_alive
from resources.tracking import Tracking
from selfai_pipeline.lineage.registry import MODEL
from selfai_pipeline.tables import TableRef

FILES = {"record.json": b"{}", "weights.safetensors": b"weights"}
TAGS = {"dagster.run_id": "d-1", "dagster.asset": "finetuned_scorer"}


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    folder = tmp_path_factory.mktemp("mlflow")
    return Tracking(
        tracking_uri=f"sqlite:///{folder / 'mlflow.db'}", artifacts=(folder / "artifacts").as_uri()
    )


@pytest.fixture(scope="module")
def client(tracking: Tracking) -> MlflowClient:
    return tracking.client()


def newest(client: MlflowClient) -> Run:
    experiment = client.get_experiment_by_name("selfai")
    assert experiment is not None
    return client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])[0]


def test_a_run_keeps_parameters_tags_and_a_curve_and_finishes(
    tracking: Tracking, client: MlflowClient
) -> None:
    with tracking.run("train", parameters={"epochs": 2, "long": "x" * 9000}, tags=TAGS) as run:
        for epoch in (1, 2):
            run.report(epoch, {"loss": 1 / epoch, "validation_pearson": epoch / 4})
    found = client.get_run(run.run_id)
    assert found.info.status == "FINISHED"
    assert found.data.params["epochs"] == "2"
    assert found.data.tags["dagster.run_id"] == "d-1"
    curve = client.get_metric_history(run.run_id, "validation_pearson")
    assert [(point.step, point.value) for point in curve] == [(1, 0.25), (2, 0.5)]
    assert run.url.endswith(f"/runs/{run.run_id}?workflowType=machine_learning")


def test_parameters_and_an_epoch_are_a_call_each_however_many(
    tracking: Tracking, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One call for each would be forty times slower."""
    calls = []
    log_batch = MlflowClient.log_batch

    def counted(self: MlflowClient, run_id: str, *arguments: Any, **values: Any) -> Any:
        calls.append({name: len(given) for name, given in values.items()})
        return log_batch(self, run_id, *arguments, **values)

    monkeypatch.setattr(MlflowClient, "log_batch", counted)
    parameters = {f"setting_{number}": number for number in range(130)}
    with tracking.run("train", parameters=parameters, tags=TAGS) as run:
        run.report(1, {f"figure_{number}": 0.5 for number in range(8)})
    assert calls == [{"params": 100}, {"params": 30}, {"metrics": 8}]
    assert len(client.get_run(run.run_id).data.params) == 130


@pytest.mark.parametrize("failure", [RuntimeError("diverged"), KeyboardInterrupt()])
def test_a_run_whose_body_raises_ends_as_failed(
    tracking: Tracking, client: MlflowClient, failure: BaseException
) -> None:
    with pytest.raises(type(failure)), tracking.run("train", parameters={}, tags=TAGS) as run:
        raise failure
    assert client.get_run(run.run_id).info.status == "FAILED"


def test_a_parameter_that_mlflow_refuses_does_not_leave_the_run_running(
    tracking: Tracking, client: MlflowClient
) -> None:
    with (
        pytest.raises(MlflowException, match="not allowed: name"),
        tracking.run("train", parameters={"not allowed: name?": 1}, tags=TAGS),
    ):
        pytest.fail("the body must not run")
    assert newest(client).info.status == "FAILED"


def test_what_a_run_learns_from_is_its_dataset(tracking: Tracking, client: MlflowClient) -> None:
    table = TableRef("balanced_label_table", "all", "0123456789abcdef" * 4, rows=12)
    with tracking.run("train", parameters={}, tags=TAGS) as run:
        run.log_tables([table])
        run.log_tables([])
    (logged,) = client.get_run(run.run_id).inputs.dataset_inputs
    assert logged.dataset.name == "balanced_label_table"
    assert table.sha256.startswith(logged.dataset.digest)
    assert table.sha256 in logged.dataset.source
    assert logged.dataset.profile == '{"num_rows": 12}'
    assert {tag.key: tag.value for tag in logged.tags} == {"mlflow.data.context": "training"}


def test_a_checkpoint_is_registered_once_with_its_files(tracking: Tracking, client: MlflowClient) -> None:
    with tracking.run("train", parameters={}, tags=TAGS) as first:
        version = first.register(FILES, sha256="1" * 64)
    with tracking.run("train", parameters={}, tags=TAGS) as again:
        assert again.register(FILES, sha256="1" * 64) == version
        other = again.register(FILES, sha256="2" * 64)
    assert other != version
    assert len(client.search_model_versions(f"name='{MODEL}'")) == 2
    registered = client.get_model_version(MODEL, version)
    assert registered.run_id == first.run_id
    assert registered.tags == {"checkpoint_sha256": "1" * 64, "selfai.status": "candidate"}
    assert client.get_registered_model(MODEL).aliases == {"candidate": int(other)}, "the newest is it"
    names = {Path(item.path).name for item in client.list_artifacts(first.run_id, "scorer")}
    assert names == set(FILES)


def test_what_a_dead_run_left_running_is_ended_and_the_rest_is_not(
    tracking: Tracking, client: MlflowClient
) -> None:
    with tracking.run("train", parameters={}, tags={}):
        """Makes the experiment, should this be the first test."""
    with dg.DagsterInstance.ephemeral() as instance:
        alive = instance.add_run(dg.DagsterRun(job_name="job", status=dg.DagsterRunStatus.STARTED)).run_id
        ended = instance.add_run(dg.DagsterRun(job_name="job", status=dg.DagsterRunStatus.FAILURE)).run_id
        experiment = client.get_experiment_by_name("selfai")
        assert experiment is not None
        runs = {
            name: client.create_run(experiment.experiment_id, tags=tags).info.run_id
            for name, tags in {
                "alive": {"dagster.run_id": alive},
                "ended": {"dagster.run_id": ended},
                "of another instance": {"dagster.run_id": "unknown"},
                "by hand": {},
            }.items()
        }
        assert tracking.end_dead_runs(lambda run_id: is_alive(instance, run_id)) == [runs["ended"]]
    statuses = {name: client.get_run(run_id).info.status for name, run_id in runs.items()}
    assert statuses.pop("ended") == "KILLED"
    assert set(statuses.values()) == {"RUNNING"}


def test_one_process_at_a_time_makes_and_migrates_the_database(
    tracking: Tracking, client: MlflowClient
) -> None:
    """Two at once would race in MLflow's migrations."""
    lock = Path(tracking.tracking_uri.removeprefix("sqlite:///")).with_name("create.lock")
    opening = threading.Thread(target=tracking.client)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        opening.start()
        opening.join(timeout=1)
        assert opening.is_alive()
    opening.join(timeout=60)
    assert not opening.is_alive()
