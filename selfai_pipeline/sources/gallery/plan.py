"""Which pictures each day of the gallery holds, decided before anything is drawn."""

import datetime
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from selfai_pipeline.sources.gallery.attributes import Portrait, draw_portrait_attributes
from selfai_pipeline.sources.gallery.settings import GallerySettings

FORBIDDEN_FOLDER = "private"
"""Folder at the gallery's root that robots.txt forbids."""

PRIVATE_ADDRESS = "http://10.0.0.1"
"""Where the redirecting link points: an address inside somebody's network, never to be followed."""


class Kind(StrEnum):
    """What a listed address holds; the first five are portraits to keep, the rest is junk to recognise."""

    PORTRAIT = "portrait"
    GREY = "grey"
    TRANSPARENT = "transparent"
    ROTATED = "rotated"
    CMYK = "cmyk"
    SCENERY = "scenery"
    BLURRED = "blurred"
    TINY = "tiny"
    COPY = "copy"
    REENCODED = "reencoded"
    REPUBLISHED = "republished"
    TRUNCATED = "truncated"
    PAGE = "page"
    EMPTY = "empty"
    FORBIDDEN = "forbidden"
    REDIRECT = "redirect"


SPECIAL_PORTRAITS = (Kind.GREY, Kind.TRANSPARENT, Kind.ROTATED, Kind.CMYK)
JUNK: tuple[Kind, ...] = (
    *(Kind.SCENERY,) * 3,
    *(Kind.BLURRED,) * 2,
    Kind.TINY,
    *(Kind.COPY,) * 2,
    *(Kind.REENCODED,) * 2,
    Kind.TRUNCATED,
    Kind.PAGE,
    Kind.EMPTY,
    Kind.FORBIDDEN,
    Kind.REDIRECT,
)
"""The junk of each day; from the second day on a republished portrait of the day before comes on top."""

DRAWN_JUNK = (Kind.BLURRED, Kind.TINY, Kind.TRUNCATED, Kind.FORBIDDEN)
"""Junk that shows a portrait of its own."""

REPEATING_JUNK = (Kind.COPY, Kind.REENCODED)
"""Junk that repeats a portrait of the same day."""


@dataclass(frozen=True)
class Item:
    """One address that a day's page lists.

    `name` is unique over all days. `portrait` is what the picture shows, where it shows one; `original` names
    the item that this one repeats. `rated` tells whether the simulated annotators saw it.
    """

    day: str
    name: str
    kind: Kind
    seed: int
    portrait: Portrait | None = None
    original: str | None = None
    rated: bool = False

    @property
    def path(self) -> str:
        """Path below the gallery's root."""
        folder = FORBIDDEN_FOLDER if self.kind is Kind.FORBIDDEN else self.day
        return f"{folder}/{self.name}"


def plan_gallery(settings: GallerySettings) -> dict[str, list[Item]]:
    """The items of each day in the order of its page; a day does not depend on which other days there are.

    The one exception is the republished portrait, which comes from the day before in the settings.
    """
    plan: dict[str, list[Item]] = {}
    previous: list[Item] = []
    for day in settings.days:
        items = _plan_day(day, previous, settings)
        plan[day] = previous = items
    return plan


def _plan_day(day: str, previous: list[Item], settings: GallerySettings) -> list[Item]:
    date = datetime.date.fromisoformat(day)
    generator = np.random.default_rng([settings.seed, date.toordinal()])
    stamp = date.strftime("%Y%m%d")
    portraits = []
    for number in range(settings.portraits_per_day):
        kind = SPECIAL_PORTRAITS[number] if number < len(SPECIAL_PORTRAITS) else Kind.PORTRAIT
        portraits.append(
            Item(
                day=day,
                name=f"{stamp}-{number:04d}.{'png' if kind is Kind.TRANSPARENT else 'jpg'}",
                kind=kind,
                seed=int(generator.integers(2**31)),
                portrait=draw_portrait_attributes(generator),
                rated=True,
            )
        )
    junk: list[Item] = []
    plain = [item for item in portraits if item.kind is Kind.PORTRAIT]
    originals = [plain[index] for index in generator.permutation(len(plain))]
    repeating = [kind for kind in JUNK if kind in REPEATING_JUNK]
    kinds: list[Kind] = [kind for kind in JUNK if kind not in REPEATING_JUNK]
    kinds += repeating[: len(originals)]
    for number, kind in enumerate(kinds):
        repeated = originals.pop() if kind in REPEATING_JUNK else None
        junk.append(
            Item(
                day=day,
                name=f"{stamp}-{kind}-{number:02d}.jpg",
                kind=kind,
                seed=int(generator.integers(2**31)),
                portrait=draw_portrait_attributes(generator) if kind in DRAWN_JUNK else None,
                original=repeated.name if repeated else None,
            )
        )
    earlier = [item for item in previous if item.kind is Kind.PORTRAIT]
    if earlier:
        source = earlier[int(generator.integers(len(earlier)))]
        junk.append(
            Item(
                day=day,
                name=f"{stamp}-{Kind.REPUBLISHED}-{len(kinds):02d}.jpg",
                kind=Kind.REPUBLISHED,
                seed=int(generator.integers(2**31)),
                portrait=source.portrait,
                original=source.name,
                rated=True,
            )
        )
    items = portraits + junk
    return [items[index] for index in generator.permutation(len(items))]
