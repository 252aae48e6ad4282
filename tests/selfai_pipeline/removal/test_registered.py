"""Marks in a real MLflow registry: every version of the plan that is still there gets one."""

from collections.abc import Iterator
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR

from selfai_pipeline.errors import StorageError
from selfai_pipeline.home import Home
from selfai_pipeline.lineage.registry import MODEL
from selfai_pipeline.removal.plan import Plan
from selfai_pipeline.removal.registered import REMOVED_TAG, mark_models
from selfai_pipeline.removal.subjects import Subjects


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """One for all: MLflow takes seconds to make a database."""
    return Home.at(tmp_path_factory.mktemp("home")).create()


@pytest.fixture
def client(home: Home) -> Iterator[MlflowClient]:
    """Three registered versions."""
    client = MlflowClient(f"sqlite:///{home.mlflow_database}")
    client.create_registered_model(MODEL)
    for _ in range(3):
        client.create_model_version(MODEL, "file:///scorer")
    yield client
    for model in client.search_registered_models():
        client.delete_registered_model(model.name)


def plan(removal: str, *versions: int) -> Plan:
    models = tuple((MODEL, version) for version in versions)
    return Plan(removal, "2026-02-02T00:00:00+00:00", "letter 7", "picture", Subjects(), models=models)


def tag(client: MlflowClient, version: int) -> str | None:
    found: str | None = client.get_model_version(MODEL, str(version)).tags.get(REMOVED_TAG)
    return found


def test_each_removal_leaves_one_mark_however_often_it_is_finished(client: MlflowClient, home: Home) -> None:
    for removal in ("one", "two", "two"):
        mark_models(plan(removal, 1), home)
    assert tag(client, 1) == "2026-02-02 one, 2026-02-02 two"
    assert tag(client, 2) is None


def test_a_version_that_was_deleted_meanwhile_is_passed_over(client: MlflowClient, home: Home) -> None:
    client.delete_model_version(MODEL, "2")
    marked = plan("one", 1, 2, 3)
    mark_models(marked, home)
    assert tag(client, 1) == tag(client, 3) == "2026-02-02 one"
    client.delete_registered_model(MODEL)
    mark_models(marked, home)


def test_any_other_trouble_is_told_with_what_to_do(
    client: MlflowClient, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: Any, **__: Any) -> None:
        raise MlflowException("database is locked", error_code=INTERNAL_ERROR)

    monkeypatch.setattr(MlflowClient, "set_model_version_tag", locked)
    with pytest.raises(StorageError, match=r"cannot be marked .*locked.*--resume"):
        mark_models(plan("one", 1), home)
