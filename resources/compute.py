"""The device, number format and threads that training and scoring use."""

import dagster as dg

from selfai_pipeline.environment import for_environment
from selfai_pipeline.training.settings import ComputeSettings


class Compute(for_environment(ComputeSettings), dg.ConfigurableResource[ComputeSettings]):  # type: ignore[misc]
    """`ComputeSettings` as a resource: one place to change where training runs."""
