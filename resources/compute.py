"""The device, number format and threads that training and scoring use."""

import dagster as dg

from selfai_pipeline.training.settings import ComputeSettings


class Compute(ComputeSettings, dg.ConfigurableResource[ComputeSettings]):
    """`ComputeSettings` as a resource: one place to change where training runs."""
