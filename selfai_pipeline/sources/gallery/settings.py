"""What the sample gallery holds and where it is served."""

import os
from datetime import date

from pydantic import Field, field_validator

from selfai_pipeline.environment import Settings, port_of
from selfai_pipeline.errors import InputError

MOST_PORTRAITS = 5000


def portraits_of(setting: str, default: int) -> int:
    """The number that the environment variable `setting` holds, else `default`.

    Raises:
        InputError: it holds no number of portraits.
    """
    text = os.environ.get(setting, str(default))
    if not text.isdecimal() or not 0 < int(text) <= MOST_PORTRAITS:
        mend = f"Set it to a number from 1 to {MOST_PORTRAITS}."
        raise InputError(f"{text!r} is no number of portraits", where=setting, mend=mend)
    return int(text)


class GallerySettings(Settings):
    """Size and place of the rendered gallery; the same settings render the same bytes."""

    seed: int = Field(7, ge=0, description="Seed of the portraits and of the simulated ratings.")
    days: list[str] = Field(
        ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"],
        min_length=1,
        description="Days (YYYY-MM-DD) that the gallery publishes pictures on, one page a day.",
    )
    portraits_per_day: int = Field(
        default_factory=lambda: portraits_of("SELFAI_GALLERY_PORTRAITS", 100),
        ge=1,
        le=MOST_PORTRAITS,
        description="Portraits a day before the junk among them, by default SELFAI_GALLERY_PORTRAITS.",
    )
    port: int = Field(
        default_factory=lambda: port_of("SELFAI_GALLERY_PORT", 8650),
        ge=0,
        le=65535,
        description="Port on 127.0.0.1, by default SELFAI_GALLERY_PORT; 0 lets the system choose a free one.",
    )
    picture_size: int = Field(
        480,
        ge=96,
        le=2048,
        description="Typical side of a portrait in pixels; sides vary from two thirds to four thirds of it.",
    )

    @field_validator("days")
    @classmethod
    def _real_days(cls, days: list[str]) -> list[str]:
        for day in days:
            if date.fromisoformat(day).isoformat() != day:
                raise ValueError(f"{day!r} is not a day written YYYY-MM-DD")
        if len(set(days)) != len(days):
            raise ValueError("a day is named twice")
        return sorted(days)
