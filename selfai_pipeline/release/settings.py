"""When a scorer becomes the champion, and what a release has to hold to."""

from typing import Any, ClassVar

from pydantic import Field

from selfai_pipeline.environment import Settings
from selfai_pipeline.evaluation.settings import IntervalMethod

SENTENCE = r"^[\w .,;:()%'-]*$"
"""Words that may be published: no address, no path, nothing that Markdown would act on."""


class PromotionSettings(Settings):
    """What a scorer has to show before the alias `champion` moves to it."""

    confidence: float = Field(
        0.95, gt=0, lt=1, description="Coverage of the interval of the difference to the champion."
    )
    bootstrap_draws: int = Field(
        4000, ge=200, le=1_000_000, description="Resamples of the faces that both are compared on."
    )
    interval_method: IntervalMethod = Field(
        IntervalMethod.BCA, description="bca: corrected for bias and skew; percentile: plain."
    )
    seed: int = Field(0, ge=0, description="Another number draws other resamples.")
    least_faces: int = Field(
        30, ge=8, description="Faces (near-duplicates and one person count once) that a comparison needs."
    )
    least_gain: float = Field(
        0.0,
        ge=-1,
        lt=1,
        description="The lower end of the interval of the difference in Pearson has to lie above this.",
    )
    subgroup_least_faces: int = Field(15, ge=3, description="Faces from which a subgroup is judged.")
    subgroup_margin: float = Field(
        0.05, ge=0, le=2, description="By how much Pearson may fall in any subgroup that is judged."
    )
    subgroup_bias_margin: float = Field(
        0.25,
        ge=0,
        le=9,
        description="By how much the bias (model minus crowd, without its sign) may grow in such a subgroup, "
        "points.",
    )
    batch_size: int = Field(64, ge=1, le=4096, description="Pictures that are held at a time.")

    sample: ClassVar[dict[str, Any]] = {"bootstrap_draws": 2000, "least_faces": 20}


class ReleaseSettings(Settings):
    """What a release bundle says of itself, and how exact its ONNX graph has to be."""

    licence: str = Field(
        "",
        max_length=100,
        pattern=r"^[A-Za-z0-9.+ -]*$",
        description="Licence of the weights, such as Apache-2.0; empty: the card says that none is stated.",
    )
    consent: str = Field(
        "",
        max_length=300,
        pattern=SENTENCE,
        description="What the people in the pictures have agreed to; empty: not stated, says the card.",
    )
    annotators: str = Field(
        "",
        max_length=300,
        pattern=SENTENCE,
        description="Who the annotators are, what they agreed to and how they were paid; empty: not stated.",
    )
    onnx_tolerance: float = Field(
        1e-3,
        gt=0,
        le=0.1,
        description="Points by which onnxruntime may differ from torch; above it nothing is released.",
    )
    parity_faces: int = Field(
        64, ge=1, le=10_000, description="Test faces on which the two are compared, spread over the split."
    )
    parity_random: int = Field(
        16, ge=1, le=10_000, description="Pictures of random pixels on which they are compared as well."
    )
    batch_size: int = Field(32, ge=1, le=4096, description="Pictures in one pass of that comparison.")
