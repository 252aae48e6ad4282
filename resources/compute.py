"""The device, number format and threads that training and scoring use."""

import dagster as dg

from selfai_pipeline.knobs import defaults_of
from selfai_pipeline.training.settings import ComputeSettings


class Compute(defaults_of(ComputeSettings, section="compute"), dg.ConfigurableResource[ComputeSettings]):  # type: ignore[misc]
    """`ComputeSettings` as a resource: one place to change where training runs."""

    def describe(self) -> dict[str, str | int | bool]:
        """What these settings come to on this machine: device, number format, threads, version of torch.

        Raises:
            InputError: the device that is asked for is not there.
        """
        from selfai_pipeline.training.compute import Compute as Machine

        return Machine.from_settings(self).description

    def describe_processor(self) -> dict[str, str | int | bool]:
        """The same for what is computed in float64, on the processor wherever the rest is."""
        from selfai_pipeline.training.compute import Compute as Machine

        return Machine.on_processor(self).description
