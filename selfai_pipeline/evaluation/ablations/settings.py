"""What the arms are trained and compared with."""

from pydantic import Field, field_validator

from selfai_pipeline.environment import Settings
from selfai_pipeline.evaluation.settings import EvaluationSettings
from selfai_pipeline.training.settings import FinetuneSettings, SiameseSettings, WidenSettings

ABLATION_CODE = "2"
"""Raised by whoever changes how an arm begins, is trained or is measured; what was kept of another version is
not read again."""


class AblationSettings(Settings):
    """Seeds, and the settings of every stage; those of the pipeline where nothing else is said."""

    seeds: list[int] = Field([0, 1, 2], min_length=1, description="A run of each arm for each of them.")
    imagenet_weights: str = Field(
        "",
        description="Torchvision's file of VGG-16, vgg16-397923af.pth; empty: where torchvision keeps it, "
        "else EfficientNet-Lite0 from its package.",
    )
    siamese: SiameseSettings = Field(SiameseSettings(), description="Pre-training, without its seed.")
    widening: WidenSettings = Field(WidenSettings(), description="Widening, without its seed.")
    fine_tuning: FinetuneSettings = Field(FinetuneSettings(), description="Fine-tuning, without its seed.")
    evaluation: EvaluationSettings = Field(EvaluationSettings(), description="Intervals.")

    @field_validator("seeds")
    @classmethod
    def _each_counts_once(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise ValueError("seeds are different numbers from 0 on")
        return seeds


class ComparisonSettings(Settings):
    """How the arms are compared."""

    target_pearson: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Validation correlation to which the time is taken; 0: the highest of two digits that "
        "every run of the whole method and of the wide networks reached.",
    )
    evaluation: EvaluationSettings = Field(EvaluationSettings(), description="Intervals.")
