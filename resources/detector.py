"""The face detector, loaded once a step."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import dagster as dg

from resources.compute import Compute
from selfai_pipeline.faces.settings import DetectorSettings
from selfai_pipeline.knobs import defaults_of

if TYPE_CHECKING:
    from selfai_pipeline.faces.detector import Detector


_Settings = defaults_of(DetectorSettings, section="detector")


class FaceDetector(_Settings, dg.ConfigurableResource["FaceDetector"]):  # type: ignore[misc,valid-type]
    """RetinaFace, by default with the published mobilenet0.25 weights."""

    def load(self, compute: Compute) -> "Detector":
        """The detector on the device that `compute` names, ready to use.

        Raises:
            MissingDetector, AlteredVersion, InputError: weights, engine or device cannot be had.
        """
        from selfai_pipeline.faces.detector import Detector

        return Detector.load(self, str(compute.describe()["device"]))


def describe_run(detector: "Detector", compute: Compute, *, workers: int) -> Mapping[str, str | int | bool]:
    """What a detector ran on, in the words of `Compute.describe`, with its engine and number of processes."""
    machine = compute.describe_processor() if detector.engine.device == "cpu" else compute.describe()
    return {
        **machine,
        "engine": detector.engine.name,
        "precision": detector.engine.precision,
        "threads": 1,
        "workers": workers,
    }
