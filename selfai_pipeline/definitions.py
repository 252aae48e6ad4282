"""The Dagster code location: assets, checks, automation and resources, and nothing else."""

import os
import warnings

import dagster as dg

from assets.automation import JOBS, SCHEDULES, SENSORS
from assets.graph import ALL_ASSETS, ALL_CHECKS
from assets.policies import with_policies
from resources.environments import resources_for
from selfai_pipeline.environment import current_environment
from selfai_pipeline.home import Home

if not os.environ.get("DAGSTER_HOME"):
    warnings.warn(
        "DAGSTER_HOME is not set, so pools, retries and history of this project are not in force: "
        "use `make up`, or `selfai init` and the exports it prints.",
        stacklevel=1,
    )

defs = dg.Definitions(
    assets=with_policies(ALL_ASSETS, current_environment()),
    asset_checks=ALL_CHECKS,
    jobs=JOBS,
    schedules=SCHEDULES,
    sensors=SENSORS,
    resources=resources_for(current_environment(), Home.from_environment()),
    # A step's own process costs two seconds of imports; a run is a process of its own already.
    executor=dg.in_process_executor,
)
