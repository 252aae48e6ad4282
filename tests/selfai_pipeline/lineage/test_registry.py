"""The registry reads the same from MLflow's database as through its client."""

from dataclasses import replace

import pytest
from mlflow import MlflowClient

from selfai_pipeline.errors import InputError, StorageError
from selfai_pipeline.home import Home
from selfai_pipeline.lineage.registry import (
    ASSET_TAG,
    CHECKPOINT_TAG,
    EXPERIMENT,
    MODEL,
    RUN_TAG,
    read_database,
    read_registry,
    read_server,
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Versions with and without aliases, runs that failed, finished or have no tags, and deleted ones."""
    home = Home.at(tmp_path_factory.mktemp("home")).create()
    client = MlflowClient(f"sqlite:///{home.mlflow_database}")
    experiment = client.create_experiment(EXPERIMENT)
    runs = []
    for status in ("FAILED", "FINISHED"):
        run = client.create_run(experiment, tags={RUN_TAG: "d-1", ASSET_TAG: "finetuned_scorer"})
        client.set_terminated(run.info.run_id, status=status)
        runs.append(run.info.run_id)
    client.create_run(experiment)
    gone = client.create_run(experiment, tags={RUN_TAG: "d-2", ASSET_TAG: "finetuned_scorer"})
    client.delete_run(gone.info.run_id)
    client.create_registered_model(MODEL)
    for sha256 in ("1" * 64, "2" * 64, "3" * 64):
        client.create_model_version(MODEL, "file:///scorer", runs[1], tags={CHECKPOINT_TAG: sha256})
    client.delete_model_version(MODEL, "3")
    client.create_model_version(MODEL, "file:///foreign", runs[1])
    # A server is shared: others name their models as they like.
    client.create_registered_model("bob's model")
    client.create_model_version("bob's model", "file:///bob", runs[1])
    client.set_registered_model_alias(MODEL, "champion", "1")
    client.set_registered_model_alias(MODEL, "best", "1")
    return home, runs[1]


def test_versions_aliases_and_runs_are_read(recorded):
    home, run = recorded
    registry = read_registry(home)
    assert [(one.version, one.aliases) for one in registry.versions] == [(1, ("best", "champion")), (2, ())]
    assert {one.mlflow_run for one in registry.versions} == {run}
    assert registry.runs == {("d-1", "finetuned_scorer"): run}
    assert registry.find(MODEL).version == 2
    assert registry.find(MODEL, "champion") == registry.find(MODEL, "1")
    assert str(registry.find(MODEL, "1")) == "selfai-scorer@1 (best, champion)"


def test_the_client_says_the_same(recorded):
    home, _ = recorded
    uri = f"sqlite:///{home.mlflow_database}"
    assert read_server(uri) == read_registry(home)


def test_production_names_its_own(recorded, monkeypatch):
    home, _ = recorded
    other = replace(home, root=home.root / "other")
    monkeypatch.setenv("SELFAI_ENV", "production")
    with pytest.raises(InputError, match="MLFLOW_TRACKING_URI"):
        read_registry(other)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home.mlflow_database}")
    assert read_registry(other) == read_database(home.mlflow_database)


def test_without_a_database_nothing_is_registered(tmp_path):
    assert read_registry(Home.at(tmp_path)).versions == ()
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_database_is_named(tmp_path):
    path = tmp_path / "mlflow.db"
    path.write_bytes(b"not a database" * 200)
    with pytest.raises(StorageError, match=r"mlflow\.db: MLflow's database cannot be read"):
        read_database(path)
