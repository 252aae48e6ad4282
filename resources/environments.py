"""One dict of resources an environment: what differs between one machine and production stands here."""

import os
from pathlib import Path

import dagster as dg

from resources.compute import Compute
from resources.detector import FaceDetector
from resources.snapshots import SnapshotIOManager
from resources.store import StoreResource
from resources.tracking import Tracking
from selfai_pipeline.environment import Environment, port_of
from selfai_pipeline.home import Home

Resources = dict[str, object]


def resources_for(environment: Environment, home: Home) -> Resources:
    """The resources of `environment` over `home`; where the files of the store lie, `open_store` decides."""
    return {
        "io_manager": SnapshotIOManager(home=str(home.root)),
        "store": StoreResource(home=str(home.root)),
        "compute": Compute(),
        "detector": FaceDetector(),
        "tracking": _shared_tracking() if environment is Environment.PRODUCTION else _own_tracking(home),
    }


def _own_tracking(home: Home) -> Tracking:
    return Tracking(
        tracking_uri=f"sqlite:///{home.mlflow_database}",
        artifacts=Path(home.mlflow / "artifacts").as_uri(),
        ui_url=f"http://127.0.0.1:{port_of('SELFAI_MLFLOW_PORT')}",
        dagster_url=f"http://127.0.0.1:{port_of('SELFAI_UI_PORT')}",
    )


def _shared_tracking() -> Tracking:
    return Tracking(
        tracking_uri=dg.EnvVar("MLFLOW_TRACKING_URI"),
        artifacts=dg.EnvVar("SELFAI_MLFLOW_ARTIFACTS"),
        ui_url=os.environ.get("SELFAI_MLFLOW_URL", "http://127.0.0.1:5000"),
        dagster_url=os.environ.get("SELFAI_UI_URL", "http://127.0.0.1:3000"),
    )
