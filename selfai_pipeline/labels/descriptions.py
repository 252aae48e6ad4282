"""What the further columns of the ratings say about a picture as a whole: person, given split, attributes."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from selfai_pipeline.errors import InputError
from selfai_pipeline.labels.settings import LabelSettings
from selfai_pipeline.labels.site.ratings import describing_sources
from selfai_pipeline.labels.splits import Split, parse_split

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class PictureDescription:
    """What the ratings' further columns say about a picture as a whole.

    `attributes` are those on which its rows agree, `conflicts` the names of the others; `persons` are
    qualified by the source; `given` is the split that the files ask for.
    """

    attributes: dict[str, str]
    persons: list[str]
    given: Split | None
    conflicts: list[str]


def describe_pictures(ratings: "pa.Table", settings: LabelSettings) -> dict[str, PictureDescription]:
    """What is known about each rated picture as a whole, by image_id.

    Raises:
        InputError: a given split is none, or a picture is given on two sides. The message names the files
            alone: it goes into the event log, where names of pictures have no place.
    """
    distinct = (
        ratings.select(["image_id", "origin", "attributes"])
        .group_by(["image_id", "origin", "attributes"], use_threads=False)
        .aggregate([])
    )
    values: dict[str, dict[str, set[str]]] = {}
    persons: dict[str, set[str]] = {}
    origins: dict[str, set[str]] = {}
    # Many rows say the same.
    cells = {text: json.loads(text) for text in distinct["attributes"].unique().to_pylist()}
    columns = (distinct[name].to_pylist() for name in ("image_id", "origin", "attributes"))
    for image_id, origin, text in zip(*columns, strict=True):
        seen = values.setdefault(image_id, {})
        origins.setdefault(image_id, set()).add(origin)
        for name, value in cells[text].items():
            seen.setdefault(name, set()).add(value)
            if name == settings.person_column:
                found = {f"{source}/{value}" for source in describing_sources(origin)}
                persons.setdefault(image_id, set()).update(found)
    described = {}
    for image_id, seen in values.items():
        given = _given(seen.get(settings.split_column, set()), origins[image_id], settings)
        described[image_id] = PictureDescription(
            attributes={name: min(found) for name, found in sorted(seen.items()) if len(found) == 1},
            persons=sorted(persons.get(image_id, ())),
            given=given,
            conflicts=sorted(name for name, found in seen.items() if len(found) > 1),
        )
    return described


def _given(texts: set[str], origins: set[str], settings: LabelSettings) -> Split | None:
    """The one side that the cells of a picture ask for."""
    where = f"column {settings.split_column!r} of {' and of '.join(sorted(origins))}"
    sides: set[Split] = set()
    for text in texts:
        side = parse_split(text)
        if side is None:
            raise InputError(
                "it holds a value that is no split",
                where=where,
                mend="Write train, validation or test, or name another column with split_column.",
            )
        sides.add(side)
    if len(sides) > 1:
        raise InputError(
            f"a picture is given as {' and as '.join(sorted(sides))}",
            where=where,
            mend="A picture can be on one side only: mend the file; `selfai import` names its lines.",
        )
    return next(iter(sides), None)
