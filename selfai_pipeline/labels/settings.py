"""How ratings become labels."""

from enum import StrEnum

from pydantic import Field, model_validator

from selfai_pipeline.environment import Settings
from selfai_pipeline.pictures.settings import PruneSettings


class Balance(StrEnum):
    """How training draws its faces."""

    CLASS_FIRST = "class_first"
    SMOOTHED = "smoothed"
    NONE = "none"


class LabelSettings(Settings):
    """Rating model, splits and balance of the label table."""

    least_annotators: int = Field(
        2,
        ge=1,
        description="Different annotators that a picture with single ratings needs; means are not affected.",
    )
    own_model_ratings: int = Field(
        5,
        ge=2,
        description="Ratings from which an annotator gets a bias and an inconsistency of their own; "
        "the others of a source share one.",
    )
    inconsistency_prior: float = Field(
        8.0,
        gt=0,
        description="How many ratings of pooled inconsistency are added to each annotator's own; "
        "keeps an annotator with few ratings from looking perfectly consistent.",
    )
    restricted: bool = Field(
        True,
        description="Restricted maximum likelihood: inconsistency allows for the scores being estimated. "
        "Off: plain maximum likelihood, as in ITU-T P.913.",
    )
    flag_least_ratings: int = Field(
        10, ge=5, description="Ratings from which an annotator can be flagged as carrying no signal."
    )
    flag_odds: float = Field(
        20.0,
        gt=1,
        description="An annotator is flagged whose ratings are this many times as likely without any signal "
        "as with that of a typical annotator.",
    )
    leave_out_flagged: bool = Field(False, description="Leave the ratings of flagged annotators out.")
    duplicate_radius: int = Field(
        PruneSettings.model_fields["duplicate_radius"].default,
        ge=0,
        le=256,
        description="Differing bits, of 256, of two perceptual hashes up to which both get one split.",
    )
    duplicate_correlation: float = Field(
        PruneSettings.model_fields["duplicate_correlation"].default,
        ge=0,
        le=1.1,
        description="Correlation of two thumbnails, aligned, from which both get one split: cropped, "
        "mirrored or captioned copies; above 1: the hashes alone count.",
    )
    person_column: str = Field(
        "person", description="Attribute that names the person: one person stays in one split; empty: none."
    )
    split_column: str = Field(
        "split",
        description="Attribute with a given split (train, validation, test), which is kept; empty: none.",
    )
    group_column: str = Field(
        "group", description="Attribute with the subgroup for the evaluation; empty: none."
    )
    test_share: float = Field(0.2, gt=0, lt=1, description="Share of the clusters drawn for test.")
    validation_share: float = Field(
        0.16, gt=0, lt=1, description="Share of the clusters drawn for validation."
    )
    split_seed: int = Field(0, ge=0, description="Another number draws other splits.")
    balance: Balance = Field(
        Balance.CLASS_FIRST,
        description="How training draws: class_first: a class, then a face of it; smoothed: by the inverse "
        "of the smoothed density of scores; none: every face as often.",
    )
    smoothing_width: float = Field(
        0.5,
        ge=0.05,
        le=9,
        description="Of balance smoothed: standard deviation of the kernel over the scores, in points.",
    )
    smoothing_bins: int = Field(
        90, ge=10, le=9000, description="Of balance smoothed: bins of the scale in which scores are counted."
    )
    least_rows: int = Field(
        3, ge=2, description="Rated faces that each split needs; with fewer there is no label table."
    )

    @model_validator(mode="after")
    def _something_is_left_to_train_on(self) -> "LabelSettings":
        if self.test_share + self.validation_share >= 1:
            raise ValueError("test_share and validation_share have to leave something to train on")
        return self
