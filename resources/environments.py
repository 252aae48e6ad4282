"""One dict of resources an environment: what differs between sample, local and production stands here."""

import os
from pathlib import Path

import dagster as dg

from resources.compute import Compute
from resources.detector import FaceDetector
from resources.snapshots import SnapshotIOManager
from resources.store import StoreResource
from resources.tracking import Tracking
from selfai_pipeline.environment import Environment
from selfai_pipeline.home import Home

Resources = dict[str, object]


def resources_for(environment: Environment, home: Home) -> Resources:
    """The resources of `environment` over `home`."""
    if environment is Environment.PRODUCTION:
        return _production(home)
    return _one_machine(home)


def _one_machine(home: Home) -> Resources:
    root = str(home.root)
    return {
        "io_manager": SnapshotIOManager(home=root),
        "store": StoreResource(home=root),
        "compute": Compute(),
        "detector": FaceDetector(),
        "tracking": Tracking(
            tracking_uri=f"sqlite:///{home.mlflow / 'mlflow.db'}",
            artifacts=Path(home.mlflow / "artifacts").as_uri(),
            ui_url=f"http://127.0.0.1:{os.environ.get('SELFAI_MLFLOW_PORT', '5000')}",
        ),
    }


def _production(home: Home) -> Resources:
    root = str(home.root)
    url = dg.EnvVar("SELFAI_STORAGE_URL")
    return {
        "io_manager": SnapshotIOManager(home=root, url=url),
        "store": StoreResource(home=root, url=url),
        "compute": Compute(),
        "detector": FaceDetector(),
        "tracking": Tracking(
            tracking_uri=dg.EnvVar("MLFLOW_TRACKING_URI"),
            artifacts=dg.EnvVar("SELFAI_MLFLOW_ARTIFACTS"),
            ui_url=os.environ.get("SELFAI_MLFLOW_URL", "http://127.0.0.1:5000"),
        ),
    }
