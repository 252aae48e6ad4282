"""MLflow: one run a training asset, explicit ids, one call an epoch."""

import fcntl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from selfai_pipeline.lineage.registry import (
    CANDIDATE,
    CHECKPOINT_TAG,
    EXPERIMENT,
    MODEL,
    RUN_TAG,
    STATUS_TAG,
)
from selfai_pipeline.tables import TableRef

if TYPE_CHECKING:
    from mlflow import MlflowClient

LONGEST_PARAMETER = 6000
LONGEST_DIGEST = 36
DATASET_SOURCE = "selfai-table"
MOST_PARAMETERS = 100
"""In one call."""
NOTE_TAG = "mlflow.note.content"
"""The description of a run, Markdown."""
KIND_TAG = "mlflow.experimentKind"
TRAINING_PAGES = "workflowType=machine_learning"
"""Without these two MLflow's pages take the experiment for one about prompts, its runs for evaluations."""


@dataclass(frozen=True)
class TrackedRun:
    """An MLflow run in progress.

    Attributes:
        url: its page in the MLflow UI.
        epochs: the figures of each epoch that was reported.
    """

    client: "MlflowClient"
    run_id: str
    url: str
    epochs: dict[int, Mapping[str, float]] = field(default_factory=dict)

    def report(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log the figures of one epoch in one call (forty times faster than one call a figure)."""
        import time

        from mlflow.entities import Metric

        self.epochs[epoch] = dict(metrics)
        now = int(time.time() * 1000)
        self.client.log_batch(
            self.run_id, metrics=[Metric(name, value, now, epoch) for name, value in metrics.items()]
        )

    def report_as(self, name: str) -> Callable[[int, Mapping[str, float]], None]:
        """A report whose figures bear `name` before their own: for a run of several trainings."""

        def report(epoch: int, metrics: Mapping[str, float]) -> None:
            self.report(epoch, {f"{name}.{key}": value for key, value in metrics.items()})

        return report

    def log_tables(self, tables: Iterable[TableRef]) -> None:
        """Record what the run learns from as MLflow's datasets, each named by its asset.

        The digest is the beginning of the version's SHA-256, as long as MLflow allows; `source` has it all.
        """
        import json
        from dataclasses import asdict

        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

        context = [InputTag(MLFLOW_DATASET_CONTEXT, "training")]
        datasets = [
            DatasetInput(
                Dataset(
                    name=table.asset,
                    digest=table.sha256[:LONGEST_DIGEST],
                    source_type=DATASET_SOURCE,
                    source=json.dumps(asdict(table)),
                    profile=json.dumps({"num_rows": table.rows}),
                ),
                context,
            )
            for table in tables
        ]
        if datasets:
            self.client.log_inputs(self.run_id, datasets)

    def made(self, sha256: str) -> None:
        """Note which checkpoint the run made."""
        self.client.set_tag(self.run_id, CHECKPOINT_TAG, sha256)

    def register(self, files: Mapping[str, bytes], *, sha256: str) -> str:
        """Make a checkpoint a version of the registered model, its files logged with this run.

        It is the candidate from then on: what makes it the champion is another step. A checkpoint is
        registered once: where a version of it exists, that one is returned.

        Args:
            files: content of the checkpoint's files by name.
            sha256: hash that names the checkpoint.
        """
        import tempfile

        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode

        known = self.client.search_model_versions(f"name='{MODEL}' and tag.{CHECKPOINT_TAG}='{sha256}'")
        if known:
            return str(min(int(version.version) for version in known))
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                (Path(folder) / name).write_bytes(content)
            self.client.log_artifacts(self.run_id, folder, "scorer")
        try:
            self.client.create_registered_model(MODEL)
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                raise
        source = f"{self.client.get_run(self.run_id).info.artifact_uri}/scorer"
        tags = {CHECKPOINT_TAG: sha256, STATUS_TAG: CANDIDATE}
        version = str(self.client.create_model_version(MODEL, source, self.run_id, tags=tags).version)
        self.client.set_registered_model_alias(MODEL, CANDIDATE, version)
        return version


class Tracking(dg.ConfigurableResource["Tracking"]):
    """Where training is recorded."""

    tracking_uri: str = Field(description="Address of MLflow's database or server.")
    artifacts: str = Field(description="Folder or address of the artifacts.")
    ui_url: str = Field(default="http://127.0.0.1:5000", description="Address of the MLflow UI, for links.")
    dagster_url: str = Field(
        default="http://127.0.0.1:3000", description="Address of the Dagster UI, for links back."
    )

    def client(self) -> "MlflowClient":
        """A client; the database is made and migrated by one process at a time (two at once would race)."""
        from mlflow import MlflowClient

        if not self.tracking_uri.startswith("sqlite:///"):
            return MlflowClient(self.tracking_uri)
        database = Path(self.tracking_uri.removeprefix("sqlite:///"))
        database.parent.mkdir(parents=True, exist_ok=True)
        with (database.parent / "create.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            client = MlflowClient(self.tracking_uri)
            client.search_experiments(max_results=1)
        return client

    def model_url(self, version: int) -> str:
        """The page of a version of the registered model in the MLflow UI."""
        return f"{self.ui_url}/#/models/{MODEL}/versions/{version}"

    @contextmanager
    def run(
        self, name: str, *, parameters: Mapping[str, Any], tags: Mapping[str, str]
    ) -> Iterator[TrackedRun]:
        """A run that ends as FINISHED, or as FAILED where the body raises."""
        from mlflow.entities import Param

        client = self.client()
        experiment = client.get_experiment_by_name(EXPERIMENT)
        experiment_id = (
            experiment.experiment_id
            if experiment
            else client.create_experiment(
                EXPERIMENT, artifact_location=self.artifacts, tags={KIND_TAG: "custom_model_development"}
            )
        )
        run = client.create_run(experiment_id, run_name=name, tags=dict(tags))
        run_id = run.info.run_id
        try:
            texts = [Param(key, str(value)[:LONGEST_PARAMETER]) for key, value in parameters.items()]
            for start in range(0, len(texts), MOST_PARAMETERS):
                client.log_batch(run_id, params=texts[start : start + MOST_PARAMETERS])
            page = f"{self.ui_url}/#/experiments/{experiment_id}/runs/{run_id}?{TRAINING_PAGES}"
            yield TrackedRun(client, run_id, page)
        except BaseException:
            client.set_terminated(run_id, status="FAILED")
            raise
        client.set_terminated(run_id, status="FINISHED")

    def end_dead_runs(self, is_alive: Callable[[str], bool]) -> list[str]:
        """Mark as KILLED what Dagster runs left running that are not alive any more; returns MLflow's ids.

        Args:
            is_alive: whether the Dagster run with this id may still be working.
        """
        client = self.client()
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            return []
        running = client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'")
        dead = [
            run.info.run_id
            for run in running
            if RUN_TAG in run.data.tags and not is_alive(run.data.tags[RUN_TAG])
        ]
        for run_id in dead:
            client.set_terminated(run_id, status="KILLED")
        return dead
