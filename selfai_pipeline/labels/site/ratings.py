"""What the site hands on: ratings for the graph, and everything that was said for an export."""

import csv
import datetime
import hashlib
import io
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from selfai_pipeline.home import Home
from selfai_pipeline.labels.site.answering import FaceState
from selfai_pipeline.labels.site.assigning import Kind
from selfai_pipeline.labels.site.database import SiteDatabase, answers, assignments, faces, people

ORIGIN = "annotation_site"
READ_AT_ONCE = 2000
COLUMNS = ("image", "annotator", "group", "kind", "said", "score", "reason", "said_at", "counts", "state")


@dataclass(frozen=True, order=True)
class SiteRating:
    """A score 0..9 that counts: one an annotator and picture. `group` is empty where it is not known."""

    image_id: str
    annotator: str
    score: int
    rated_at: datetime.datetime
    group: str


def site_origin(described_by: Collection[str]) -> str:
    """The origin of a rating of the site, with the sources whose files describe its picture."""
    return f"{ORIGIN}:{'+'.join(sorted(described_by))}" if described_by else ORIGIN


def describing_sources(origin: str) -> list[str]:
    """The sources whose files say what a row of this origin knows about its picture."""
    source, _, rest = origin.partition(":")
    return rest.split("+") if source == ORIGIN and rest else [source]


def site_ratings(home: Home) -> list[SiteRating] | None:
    """The ratings of the annotation site, sorted; None where there is no site.

    Skips are no ratings. An annotator's second score of a picture is left out: it tells how consistent they
    are, and would count as another voice. So are ratings of pictures that were taken out of circulation.

    Raises:
        InputError, StorageError: the database cannot be used.
    """
    if home.annotations_url == home.own_annotations_url and not home.own_annotations.exists():
        return None
    with SiteDatabase(home.annotations_url) as database:
        return sorted(ratings_in(database))


def site_fingerprint(ratings: list[SiteRating]) -> str:
    """Changes with every rating that counts: a new one, a corrected one, one taken back."""
    said = [[*_plain(one)] for one in ratings]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def _plain(rating: SiteRating) -> tuple[str, str, int, str, str]:
    return rating.image_id, rating.annotator, rating.score, rating.rated_at.isoformat(), rating.group


def ratings_in(database: SiteDatabase) -> Iterator[SiteRating]:
    """The scores that count, of faces in circulation, in no particular order."""
    query = (
        sa.select(
            faces.c.image_id, people.c.name, assignments.c.score, assignments.c.answered_at, people.c.group
        )
        .join(faces, faces.c.id == assignments.c.face)
        .join(people, people.c.id == assignments.c.person)
        .where(
            assignments.c.state == "rated",
            assignments.c.kind != Kind.REPEAT,
            faces.c.state == FaceState.OPEN,
        )
    )
    with database.reading() as connection:
        for row in connection.execution_options(yield_per=READ_AT_ONCE).execute(query):
            yield SiteRating(row.image_id, row.name, row.score, moment(row.answered_at), row.group)


def moment(microseconds: int) -> datetime.datetime:
    """A moment as the database keeps it, exactly."""
    start = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return start + datetime.timedelta(microseconds=microseconds)


def everything_said(database: SiteDatabase) -> Iterator[dict[str, Any]]:
    """Every answer in its order, those taken back too; `counts` tells whether it holds now.

    Keys are `COLUMNS`: `image` is the image_id, `state` that of its face, `said` score, skip or undo.
    """
    latest = sa.select(sa.func.max(answers.c.id)).group_by(answers.c.assignment).scalar_subquery()
    query = (
        sa.select(
            answers,
            answers.c.id.in_(latest).label("is_latest"),
            assignments.c.kind,
            faces.c.image_id,
            faces.c.state.label("face_state"),
            people.c.name,
            people.c.group,
        )
        .join(assignments, assignments.c.id == answers.c.assignment)
        .join(faces, faces.c.id == assignments.c.face)
        .join(people, people.c.id == assignments.c.person)
        .order_by(answers.c.id)
    )
    with database.reading() as connection:
        for row in connection.execution_options(yield_per=READ_AT_ONCE).execute(query):
            yield {
                "image": row.image_id,
                "annotator": row.name,
                "group": row.group,
                "kind": row.kind,
                "said": row.said,
                "score": row.score,
                "reason": row.reason,
                "said_at": moment(row.said_at).isoformat(),
                "counts": bool(row.is_latest) and row.said != "undo",
                "state": row.face_state,
            }


def as_csv(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    """Lines of a CSV with a header; names cannot begin like a formula."""
    sink = io.StringIO()
    writer = csv.DictWriter(sink, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(row)
        if sink.tell() > 1 << 16:
            yield sink.getvalue()
            sink.seek(0)
            sink.truncate()
    yield sink.getvalue()


def as_json_lines(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        yield json.dumps(row, ensure_ascii=False) + "\n"
