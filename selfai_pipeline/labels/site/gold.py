"""Pictures whose score is known, read from a file."""

from pathlib import Path

from selfai_pipeline.errors import InputError
from selfai_pipeline.labels.annotations import stored_pictures
from selfai_pipeline.labels.left_out import match_names
from selfai_pipeline.labels.picture_names import PictureNames
from selfai_pipeline.labels.ratings_file import read_ratings
from selfai_pipeline.labels.reasons import MENDS
from selfai_pipeline.sources.settings import RatingsFile
from selfai_pipeline.sources.tombstones import Tombstones
from selfai_pipeline.store import Store


def gold_scores(
    file: Path, *, store: Store, picture_column: str, score_column: str, minimum: float, maximum: float
) -> dict[str, float]:
    """image_id -> score 0..9, from a table with one score a picture; rows about removed ones are passed over.

    Raises:
        InputError: no picture is stored, the file cannot be read, or one of its rows cannot be used or names
            no stored picture.
    """
    declared = RatingsFile(
        path=str(file.resolve()),
        picture_column=picture_column,
        score_column=score_column,
        annotator_column="",
        minimum=minimum,
        maximum=maximum,
    )
    names = stored_pictures(store.tables.snapshot("raw_crawl"), store)
    if not names:
        raise InputError(
            "no picture is stored yet that it could name",
            where=str(file),
            mend="Materialize the data stages first, with `selfai run`.",
        )
    known = PictureNames([pair for pairs in names.values() for pair in pairs])
    rows, removed = read_ratings(declared, home=store.home), Tombstones.of(store)

    def is_removed(name: str) -> bool:
        return any(removed.refuses_name(source, name, stored=known.addresses) for source in names)

    pictures, unmatched = match_names(
        rows.names, rows.lines, known=known, file=str(file), is_removed=is_removed
    )
    lost = [*rows.left_out, *unmatched]
    if lost:
        first = min(lost, key=lambda one: one.line)
        raise InputError(first.detail, where=first.place, mend=MENDS[first.reason])
    return {
        image_id: float(score)
        for image_id, score in zip(pictures, rows.scores, strict=True)
        if image_id is not None
    }
