"""Which faces the site has: those of the current versions of `aligned_faces` that passed their checks."""

import hashlib
import logging
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from selfai_pipeline.labels.site.database import SiteDatabase, answers, assignments, decisions, faces
from selfai_pipeline.labels.site.settings import SiteSettings
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Snapshot

logger = logging.getLogger("selfai.site")

AT_ONCE = 1000


def current_faces(store: Store) -> Snapshot:
    """The versions of `aligned_faces` whose faces are shown."""
    return store.tables.only_passed(store.tables.snapshot("aligned_faces"))


def take_in_faces(database: SiteDatabase, versions: Snapshot, *, store: Store, settings: SiteSettings) -> int:
    """Bring the site's faces up to date with `versions`; returns how many there are.

    A face of several days counts once. Faces that are gone are shown to nobody; what was said of them stays.
    """
    crops = _crops(versions, store)
    with database.reading() as connection:
        known = {
            row.image_id: row
            for row in connection.execute(
                sa.select(faces.c.id, faces.c.image_id, faces.c.crop_sha256, faces.c.present)
            )
        }
    added = [
        {
            "image_id": image_id,
            "crop_sha256": crop,
            "place": place_of(image_id),
            "target": settings.wanted_annotators,
        }
        for image_id, crop in crops.items()
        if image_id not in known
    ]
    changed = [
        {"number": row.id, "crop": crops.get(image_id, row.crop_sha256), "is_there": int(image_id in crops)}
        for image_id, row in known.items()
        if (row.crop_sha256, row.present) != (crops.get(image_id, row.crop_sha256), int(image_id in crops))
    ]
    change = (
        sa.update(faces)
        .where(faces.c.id == sa.bindparam("number"))
        .values(crop_sha256=sa.bindparam("crop"), present=sa.bindparam("is_there"))
    )
    for some in _batches(added):
        with database.writing() as connection:
            connection.execute(_insert_new(connection), some)
    for some in _batches(changed):
        with database.writing() as connection:
            connection.execute(change, some)
    with database.writing() as connection:
        # A changed setting holds for the faces that are there already.
        other_number = (faces.c.target != settings.wanted_annotators) & faces.c.half_width.is_(None)
        too_low = faces.c.target < settings.wanted_annotators
        connection.execute(
            sa.update(faces)
            .where(faces.c.gold_score.is_(None), other_number | too_low)
            .values(target=settings.wanted_annotators)
        )
    if crops:
        logger.info("%d faces to score, %d of them new", len(crops), len(added))
    else:
        logger.warning("there is no face to score: no day of aligned_faces with one has passed its checks")
    return len(crops)


def _crops(versions: Snapshot, store: Store) -> dict[str, str]:
    """image_id -> crop of each picture with one face, of the first day that has a crop of the picture.

    The label table leaves a picture with several faces out: nobody would know which of them was scored.
    """
    found: dict[str, list[str]] = {}
    for ref in versions.tables.values():
        of_day: dict[str, list[str]] = {}
        for row in store.tables.read(ref, ["image_id", "crop_sha256"]).to_pylist():
            if row["crop_sha256"] is not None:
                of_day.setdefault(row["image_id"], []).append(row["crop_sha256"])
        found = {**of_day, **found}
    several = sum(len(crops) > 1 for crops in found.values())
    if several:
        logger.info("%d pictures with several faces are not shown", several)
    return {image_id: crops[0] for image_id, crops in found.items() if len(crops) == 1}


def lose_crop(database: SiteDatabase, sha256: str) -> None:
    """Show the face of a crop that cannot be read to nobody, until faces are taken in again."""
    with database.writing() as connection:
        connection.execute(sa.update(faces).where(faces.c.crop_sha256 == sha256).values(present=0))


def place_of(image_id: str) -> int:
    """Where a face stands in the order in which faces are shown: as good as random, and always the same."""
    return int.from_bytes(hashlib.sha256(f"order {image_id}".encode()).digest()[:6], "big")


def set_gold(database: SiteDatabase, scores: Mapping[str, float], *, settings: SiteSettings) -> int:
    """Make these pictures (image_id -> known score 0..9) the gold ones; returns how many the site has.

    Gold faces are shown to every annotator once, beside the wanted number, to see who follows the question.
    Those that are gold ones no more get the wanted number, as all others do.
    """
    numbered = [{"image": image_id, "score": score} for image_id, score in scores.items()]
    gold = (
        sa.update(faces)
        .where(faces.c.image_id == sa.bindparam("image"))
        .values(gold_score=sa.bindparam("score"), target=0)
    )
    with database.writing() as connection:
        no_more = sa.update(faces).where(faces.c.gold_score.is_not(None))
        values = {"gold_score": None, "half_width": None, "target": settings.wanted_annotators}
        connection.execute(no_more.values(values))
        for some in _batches(numbered):
            connection.execute(gold, some)
        count = sa.select(sa.func.count()).select_from(faces).where(faces.c.gold_score.is_not(None))
        return connection.scalar(count) or 0


def face_ids(database: SiteDatabase) -> frozenset[str]:
    """The pictures that the site has, those that it shows to nobody as well."""
    with database.reading() as connection:
        return frozenset(connection.scalars(sa.select(faces.c.image_id)))


def remove_pictures(database: SiteDatabase, image_ids: Collection[str]) -> int:
    """Delete pictures and everything that was said of them; returns how many there were."""
    removed = 0
    for some in _batches([{"image_id": one} for one in image_ids]):
        with database.writing() as connection:
            chosen = sa.select(faces.c.id).where(faces.c.image_id.in_([one["image_id"] for one in some]))
            numbers = list(connection.scalars(chosen))
            shown = sa.select(assignments.c.id).where(assignments.c.face.in_(numbers))
            connection.execute(sa.delete(answers).where(answers.c.assignment.in_(shown)))
            connection.execute(sa.delete(assignments).where(assignments.c.face.in_(numbers)))
            connection.execute(sa.delete(decisions).where(decisions.c.face.in_(numbers)))
            connection.execute(sa.delete(faces).where(faces.c.id.in_(numbers)))
            removed += len(numbers)
    return removed


def _insert_new(connection: sa.Connection) -> Any:
    """Insert faces, passing over those that another process has brought in meanwhile."""
    from sqlalchemy.dialects import postgresql, sqlite

    dialect: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
    return dialect.insert(faces).on_conflict_do_nothing(index_elements=[faces.c.image_id])


def _batches(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    for first in range(0, len(rows), AT_ONCE):
        yield rows[first : first + AT_ONCE]
