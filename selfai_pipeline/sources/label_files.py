"""Files that say something about the pictures of a source: ratings, and further columns."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from selfai_pipeline.environment import Settings
from selfai_pipeline.home import Home


def local_path(path: str) -> str:
    """Raises ValueError where `path` can name no file."""
    if "\0" in path:
        raise ValueError("a path has no null characters")
    try:
        Path(path).expanduser()
    except RuntimeError:
        raise ValueError(f"there is no home folder for {path!r}") from None
    return path


LocalPath = Annotated[str, AfterValidator(local_path)]


class RatingsFile(Settings):
    """A table with ratings of a source's pictures: one row a rating, or one row a mean over several."""

    path: LocalPath = Field(min_length=1, description="The table; absolute, or relative to SELFAI_HOME.")
    picture_column: str = Field("image", min_length=1, description="Column with the picture's name.")
    score_column: str = Field(
        "score", min_length=1, description="Column (or Label Studio's tag) with the score."
    )
    annotator_column: str = Field(
        "annotator", description="Column with the annotator; empty: each row is a mean over annotators."
    )
    annotator_group_column: str = Field(
        "", description="Column with the annotator's group (a country, say); empty: none."
    )
    count_column: str = Field("", description="Column with the number of ratings behind a mean; empty: none.")
    rated_at_column: str = Field("", description="Column with the moment of the rating; empty: none.")
    minimum: float = Field(0.0, description="Lowest score of the scale, mapped to 0.")
    maximum: float = Field(9.0, description="Highest score of the scale, mapped to 9.")
    attribute_columns: list[str] | None = Field(
        None, description="Further columns to keep as attributes; unset: all of them."
    )

    @model_validator(mode="after")
    def _scale_has_a_width(self) -> "RatingsFile":
        if not self.minimum < self.maximum:
            raise ValueError(f"minimum ({self.minimum:g}) has to be below maximum ({self.maximum:g})")
        return self

    @property
    def own_columns(self) -> frozenset[str]:
        """Those with a meaning; all others are further columns, which become attributes."""
        named = (self.picture_column, self.score_column, self.annotator_column)
        return frozenset({*named, self.annotator_group_column, self.count_column, self.rated_at_column})

    def file(self, home: Home) -> Path:
        return home.root / Path(self.path).expanduser()


class PicturesFile(Settings):
    """A table with further columns about a source's pictures (person, age, group ...), one row a picture."""

    path: LocalPath = Field(min_length=1, description="The table; absolute, or relative to SELFAI_HOME.")
    picture_column: str = Field("image", min_length=1, description="Column with the picture's name.")

    @property
    def own_columns(self) -> frozenset[str]:
        """As of a file of ratings."""
        return frozenset({self.picture_column})

    def file(self, home: Home) -> Path:
        return home.root / Path(self.path).expanduser()
