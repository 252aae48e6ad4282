"""Registered models and the runs that made them, as MLflow knows them.

MLflow's own SQLite database is read directly: importing its client takes longer than a whole audit. A shared
server, or a database of another kind, is asked through the client. Both give the same `Registry`.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfai_pipeline.environment import Environment, current_environment
from selfai_pipeline.errors import InputError, StorageError
from selfai_pipeline.home import Home

if TYPE_CHECKING:
    from mlflow.entities import Run

EXPERIMENT = "selfai"
MODEL = "selfai-scorer"
CHECKPOINT_TAG = "checkpoint_sha256"
RUN_TAG = "dagster.run_id"
ASSET_TAG = "dagster.asset"
CHAMPION, CANDIDATE = "champion", "candidate"
"""Aliases: the scorer that is in use, and the newest that was registered and is not it."""
STATUS_TAG = "selfai.status"
"""Of a version: candidate, champion, former champion, or taken back."""
PROMOTION_TAG = "selfai.promotion"
"""Of a version: hash of the entry in the log of promotions that moved the champion to it last."""


@dataclass(frozen=True)
class RegisteredVersion:
    """A version of a registered model; `source` is the address of its copy of the checkpoint's files."""

    model: str
    version: int
    aliases: tuple[str, ...]
    checkpoint_sha256: str
    mlflow_run: str
    source: str

    def __str__(self) -> str:
        names = f" ({', '.join(self.aliases)})" if self.aliases else ""
        return f"{self.model}@{self.version}{names}"


@dataclass(frozen=True)
class Registry:
    """`runs` maps (Dagster run, asset) to the MLflow run that recorded it, the last that finished."""

    versions: tuple[RegisteredVersion, ...] = ()
    runs: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def of_checkpoint(self, sha256: str) -> list[RegisteredVersion]:
        return [one for one in self.versions if one.checkpoint_sha256 == sha256]

    def find(self, name: str, wanted: str = "") -> RegisteredVersion:
        """A version of the model `name` by number or alias; the newest where `wanted` is empty.

        Raises:
            InputError: there is none; the message lists what there is.
        """
        known = [one for one in self.versions if one.model == name]
        if not known:
            named = {f"{one.model}@{alias}" for one in self.versions for alias in one.aliases}
            models = ", ".join(sorted(named | {one.model for one in self.versions})) or "none yet"
            raise InputError(
                "no model of this name is registered",
                where=name,
                mend=f"Registered are: {models}. The hash of a checkpoint or a table, or its first "
                "characters, can be named as well.",
            )
        if not wanted:
            return max(known, key=lambda one: one.version)
        for one in known:
            if wanted in (str(one.version), *one.aliases):
                return one
        raise InputError(
            "the model has no such version or alias",
            where=f"{name}@{wanted}",
            mend=f"There are: {', '.join(map(str, sorted(known, key=lambda one: one.version)))}.",
        )


def read_registry(home: Home) -> Registry:
    """The registry of the current environment; empty where nothing has been recorded.

    Raises:
        InputError: `SELFAI_ENV` is production and `MLFLOW_TRACKING_URI` is not set.
        StorageError: MLflow's database or server cannot be read.
    """
    uri = tracking_uri(home)
    if uri.startswith("sqlite:///"):
        return read_database(Path(uri.removeprefix("sqlite:///")))
    return read_server(uri)


def tracking_uri(home: Home) -> str:
    """The address of MLflow in the current environment.

    Raises:
        InputError: `SELFAI_ENV` is production and `MLFLOW_TRACKING_URI` is not set.
    """
    if current_environment() is not Environment.PRODUCTION:
        return f"sqlite:///{home.mlflow_database}"
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        raise InputError(
            "production keeps its models in an MLflow of its own, and none is named",
            where="MLFLOW_TRACKING_URI",
            mend="Set it to the address of the MLflow server.",
        )
    return uri


def read_database(database: Path) -> Registry:
    """The registry in an SQLite database of MLflow, which is not changed.

    Raises:
        StorageError: it cannot be read.
    """
    if not database.exists():
        return Registry()
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            aliases: dict[tuple[str, int], list[str]] = {}
            for name, version, alias in connection.execute(
                "SELECT name, version, alias FROM registered_model_aliases ORDER BY alias"
            ):
                aliases.setdefault((name, version), []).append(alias)
            versions = tuple(
                RegisteredVersion(
                    name, version, tuple(aliases.get((name, version), ())), sha256, run or "", source or ""
                )
                for name, version, run, source, sha256 in connection.execute(
                    "SELECT v.name, v.version, v.run_id, v.source, t.value FROM model_versions v "
                    "JOIN model_version_tags t ON t.name = v.name AND t.version = v.version AND t.key = ? "
                    "WHERE v.current_stage <> 'Deleted_Internal' ORDER BY v.name, v.version",
                    (CHECKPOINT_TAG,),
                )
            )
            runs = connection.execute(
                "SELECT a.value, b.value, r.run_uuid FROM runs r "
                "JOIN tags a ON a.run_uuid = r.run_uuid AND a.key = ? "
                "JOIN tags b ON b.run_uuid = r.run_uuid AND b.key = ? "
                "WHERE r.lifecycle_stage = 'active' ORDER BY r.status = 'FINISHED', r.start_time",
                (RUN_TAG, ASSET_TAG),
            )
            return Registry(versions, {(run, asset): mlflow_run for run, asset, mlflow_run in runs})
    except sqlite3.Error as error:
        raise StorageError(
            f"{database}: MLflow's database cannot be read ({error}). Put it back from a copy."
        ) from error


def read_server(uri: str) -> Registry:
    """The registry of an MLflow server, or of a database that is not SQLite.

    Raises:
        StorageError: it does not answer.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(uri)
    try:
        tagged = [one for one in _every(client.search_model_versions) if CHECKPOINT_TAG in one.tags]
        named: dict[tuple[str, str], list[str]] = {}
        for model in {one.name for one in tagged}:
            for alias, number in sorted(client.get_registered_model(model).aliases.items()):
                named.setdefault((model, str(number)), []).append(alias)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        tracked: list[Run] = []
        if experiment:
            tracked += _every(partial(client.search_runs, [experiment.experiment_id]))
    except MlflowException as error:
        raise StorageError(f"{uri}: MLflow does not answer ({error}). Start it, then ask again.") from error
    ordered = sorted(tracked, key=lambda run: (run.info.status == "FINISHED", run.info.start_time))
    runs = {
        (run.data.tags[RUN_TAG], run.data.tags[ASSET_TAG]): run.info.run_id
        for run in ordered
        if RUN_TAG in run.data.tags and ASSET_TAG in run.data.tags
    }
    versions = [
        RegisteredVersion(
            one.name,
            int(one.version),
            tuple(named.get((one.name, str(one.version)), ())),
            one.tags[CHECKPOINT_TAG],
            one.run_id or "",
            one.source or "",
        )
        for one in tagged
    ]
    return Registry(tuple(sorted(versions, key=lambda one: (one.model, one.version))), runs)


def _every(search: Callable[..., Any]) -> Iterator[Any]:
    """What a search of MLflow's client finds, on all its pages."""
    page: str | None = None
    while True:
        some = search(page_token=page)
        yield from some
        page = some.token
        if not page:
            return
