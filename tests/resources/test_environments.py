"""Each environment has the same resources; production keeps them on shared services."""

import dagster as dg
import pytest

from resources.compute import Compute
from resources.detector import FaceDetector
from resources.environments import resources_for
from resources.tracking import Tracking
from selfai_pipeline.environment import Environment
from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home


@pytest.mark.parametrize("environment", Environment)
def test_every_environment_has_the_same_resources(environment: Environment, home: Home) -> None:
    resources = resources_for(environment, home)
    assert set(resources) == {"io_manager", "store", "compute", "detector", "tracking"}
    assert isinstance(resources["compute"], Compute)
    assert isinstance(resources["detector"], FaceDetector)
    assert isinstance(resources["tracking"], Tracking)


@pytest.mark.parametrize("environment", [Environment.SAMPLE, Environment.LOCAL])
def test_one_machine_keeps_everything_in_its_home(environment: Environment, home: Home) -> None:
    with dg.build_resources(resources_for(environment, home)) as resources:
        assert resources.store.files.root == str(home.root)
        assert resources.tracking.tracking_uri == f"sqlite:///{home.mlflow}/mlflow.db"


def test_production_takes_its_addresses_from_the_environment(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SELFAI_ENV", "production")
    monkeypatch.setenv("SELFAI_STORAGE_URL", "memory://selfai")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example")
    monkeypatch.setenv("SELFAI_MLFLOW_ARTIFACTS", "s3://bucket/mlflow")
    monkeypatch.setenv("SELFAI_MLFLOW_URL", "https://mlflow.example")
    monkeypatch.setenv("SELFAI_UI_URL", "https://dagster.example")
    with dg.build_resources(resources_for(Environment.PRODUCTION, home)) as resources:
        assert resources.store.files.url == "memory://selfai"
        assert resources.store.home == home
        assert resources.tracking.tracking_uri == "http://mlflow.example"
        assert resources.tracking.artifacts == "s3://bucket/mlflow"
        assert resources.tracking.ui_url == "https://mlflow.example"
        assert resources.tracking.dagster_url == "https://dagster.example"


def test_production_without_a_store_says_what_to_set(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELFAI_ENV", "production")
    monkeypatch.delenv("SELFAI_STORAGE_URL", raising=False)
    store = {"store": resources_for(Environment.PRODUCTION, home)["store"]}
    with pytest.raises(dg.DagsterResourceFunctionError) as caught, dg.build_resources(store):
        pytest.fail("the resources must not open")
    assert isinstance(caught.value.__cause__, InputError)
    assert "SELFAI_STORAGE_URL" in str(caught.value.__cause__)
