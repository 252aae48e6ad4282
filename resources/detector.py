"""The face detector, loaded once a step."""

from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

if TYPE_CHECKING:
    from selfai_pipeline.faces.detector import Detector


class FaceDetector(dg.ConfigurableResource["FaceDetector"]):
    """RetinaFace with the published mobilenet0.25 weights."""

    device: str = Field(default="cpu", description="cpu or cuda.")
    threads: int = Field(default=1, ge=1, description="Threads on the processor.")

    def load(self) -> "Detector":
        """The detector, ready to use; the weights are read from the installed package."""
        from selfai_pipeline.faces.detector import Detector

        return Detector.load(device=self.device, threads=self.threads)
