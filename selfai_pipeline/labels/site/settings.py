"""Who is shown what on the annotation site, and how much of it."""

from pydantic import Field, model_validator

from selfai_pipeline.environment import Settings


class SiteSettings(Settings):
    """Settings of `selfai annotate`; section `annotation_site` of settings.yaml."""

    question: str = Field(
        "Which score do you give this face?", min_length=1, description="What annotators are asked."
    )
    wanted_annotators: int = Field(
        2, ge=1, description="Different annotators that every picture gets before any gets more."
    )
    most_annotators: int = Field(
        5, ge=1, description="Different annotators that a picture with a wide interval gets at most."
    )
    wide_interval: float = Field(
        1.5,
        gt=0,
        description="Half the width of a score's 95 % interval, in points, above which a picture gets "
        "further annotators once every other has the wanted number.",
    )
    renew_every_s: float = Field(
        60.0, gt=0, description="Seconds between two looks for new faces and at the width of intervals."
    )
    assignment_minutes: float = Field(
        10.0,
        gt=0,
        description="Minutes after which a picture that was shown and not scored goes to others.",
    )
    repeat_share: float = Field(
        0.05, ge=0, lt=1, description="Share of pictures that an annotator is shown a second time."
    )
    repeat_distance: int = Field(
        20, ge=1, description="Answers that lie at least between a picture and its second showing."
    )
    gold_share: float = Field(
        0.05, ge=0, lt=1, description="Share of pictures whose score is known (`selfai gold`)."
    )
    skips_to_set_aside: int = Field(
        2, ge=1, description="Annotators who see no face, or several, until nobody is shown the picture."
    )
    session_days: float = Field(30.0, gt=0, description="Days after which a link has to be opened again.")
    requests_per_minute: int = Field(600, ge=1, description="Requests a minute that one annotator may make.")
    strangers_per_minute: int = Field(
        60, ge=1, description="Requests a minute that one address may make without an invitation."
    )

    @model_validator(mode="after")
    def _shares_and_numbers_fit(self) -> "SiteSettings":
        if self.repeat_share + self.gold_share >= 1:
            raise ValueError("repeat_share and gold_share have to leave something new to show")
        if self.most_annotators < self.wanted_annotators:
            raise ValueError("most_annotators is below wanted_annotators")
        return self
