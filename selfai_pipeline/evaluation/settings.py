"""How a scorer is evaluated."""

from enum import StrEnum
from typing import Any, ClassVar

from pydantic import Field, model_validator

from selfai_pipeline.environment import Settings


class IntervalMethod(StrEnum):
    """How the ends of a bootstrap interval are read from the resampled figures."""

    BCA = "bca"
    PERCENTILE = "percentile"


class EvaluationSettings(Settings):
    """Intervals, subgroups, occlusion maps and galleries of the evaluation report."""

    confidence: float = Field(0.95, gt=0, lt=1, description="Coverage that every interval aims at.")
    bootstrap_draws: int = Field(
        4000, ge=200, le=1_000_000, description="Resamples of the test faces behind an interval."
    )
    interval_method: IntervalMethod = Field(
        IntervalMethod.BCA,
        description="bca: corrected for bias and skew (correlations are skewed near 1); percentile: plain.",
    )
    seed: int = Field(0, ge=0, description="Another number draws other resamples.")
    interval_least_faces: int = Field(
        8, ge=3, description="Test faces (near-duplicates and one person count once) that an interval needs."
    )
    subgroup_least_faces: int = Field(
        15, ge=3, description="Test faces from which a subgroup gets a row of its own."
    )
    batch_size: int = Field(64, ge=1, le=4096, description="Pictures that are held at a time.")
    occlusion_patch: float = Field(
        0.1875, gt=0, lt=1, description="Side of the patch that hides a part of the face, share of the side."
    )
    occlusion_stride: float = Field(
        0.09375, gt=0, le=1, description="Step between two places of the patch, share of the side."
    )
    occlusion_faces: int = Field(
        3, ge=0, le=60, description="Occlusion maps shown for high, middle and low scores each; 0: none."
    )
    occlusion_mean_faces: int = Field(
        16, ge=0, description="Test faces behind the mean map, spread evenly over the scores; 0: none."
    )
    gallery_faces: int = Field(12, ge=0, le=200, description="Faces in each gallery; 0: no galleries.")
    drift_days: int = Field(
        60, ge=0, le=5000, description="Crawl days that drift is shown for, the last ones; 0: no drift."
    )
    drift_faces: int = Field(
        64, ge=0, le=10_000, description="Faces of each of these days that the model scores; 0: no drift."
    )
    gallery_side: int = Field(112, ge=32, le=512, description="Side of a face in the galleries, pixels.")

    sample: ClassVar[dict[str, Any]] = {
        "bootstrap_draws": 2000,
        "occlusion_patch": 0.25,
        "occlusion_stride": 0.125,
        "occlusion_faces": 2,
        "occlusion_mean_faces": 12,
        "gallery_faces": 8,
    }

    @model_validator(mode="after")
    def _patches_leave_no_gap(self) -> "EvaluationSettings":
        if self.occlusion_stride > self.occlusion_patch:
            raise ValueError("occlusion_stride has to be at most occlusion_patch, or parts are never hidden")
        return self
