"""What the further columns of the ratings say about a picture as a whole: person, given split, attributes."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from selfai_pipeline.errors import InputError
from selfai_pipeline.labels.settings import LabelSettings
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
        InputError: a given split is none, or a picture is given on two sides.
    """
    distinct = (
        ratings.select(["image_id", "origin", "attributes"])
        .group_by(["image_id", "origin", "attributes"], use_threads=False)
        .aggregate([])
    )
    values: dict[str, dict[str, set[str]]] = {}
    persons: dict[str, set[str]] = {}
    for row in distinct.to_pylist():
        seen = values.setdefault(row["image_id"], {})
        for name, value in json.loads(row["attributes"]).items():
            seen.setdefault(name, set()).add(value)
            if name == settings.person_column:
                source = row["origin"].partition(":")[0]
                persons.setdefault(row["image_id"], set()).add(f"{source}/{value}")
    described = {}
    for image_id, seen in values.items():
        given = {
            parse_split(value, column=settings.split_column) for value in seen.get(settings.split_column, ())
        }
        if len(given) > 1:
            raise InputError(
                f"it is given as {' and as '.join(sorted(given))}",
                where=f"attribute {settings.split_column!r} of picture {image_id}",
                mend="A picture can be on one side only: mend the file.",
            )
        described[image_id] = PictureDescription(
            attributes={name: min(found) for name, found in sorted(seen.items()) if len(found) == 1},
            persons=sorted(persons.get(image_id, ())),
            given=next(iter(given), None),
            conflicts=sorted(name for name, found in seen.items() if len(found) > 1),
        )
    return described
