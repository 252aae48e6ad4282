"""Who is shown which face next.

Every face gets the wanted number of different annotators before any gets more; then those with wide intervals
get one at a time, the widest first. A share of showings are repeats (the annotator's own, of a while ago) and
gold (faces whose score is known). `taken` of a face counts who scored it and who is being shown it, and is
raised in the transaction that shows it, only below `target`: two who ask at one moment cannot exceed it.
"""

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from selfai_pipeline.labels.site.database import (
    CIRCULATES,
    IS_FIRST_TIME,
    IS_FREE,
    IS_OPEN,
    IS_SECOND_TIME,
    IS_UNFINISHED,
    SECOND,
    SiteDatabase,
    assignments,
    faces,
    now,
    people,
)
from selfai_pipeline.labels.site.settings import SiteSettings
from selfai_pipeline.labels.site.tokens import new_token

EXPIRED_AT_ONCE = 500
REPEATS_DRAWN_FROM = 200
GOLD_DRAWN_FROM = 50


class Kind(StrEnum):
    """Why a face is shown to an annotator."""

    NEW = "new"
    EXTRA = "extra"
    GOLD = "gold"
    REPEAT = "repeat"


COUNTED = (Kind.NEW, Kind.EXTRA)
"""Kinds that bring a face towards its number of annotators; gold and repeats come on top."""


@dataclass(frozen=True)
class Assignment:
    """A face that an annotator is shown; `token` stands for it on pages, and tells nothing about it."""

    number: int
    token: str
    kind: Kind


def next_assignment(
    database: SiteDatabase, person: int, *, settings: SiteSettings, generator: random.Random
) -> Assignment | None:
    """What the annotator of this number is shown, the same until it is answered; None: nothing is left."""
    expire(database)
    while True:
        # Who was shown what need not outlive the machine: an answer to it brings it to the disk.
        with database.writing(waits_for_disk=False) as connection:
            hold_person(connection, person)
            row = _shown(connection, person)
            if row is None:
                return _choose(connection, person, settings=settings, generator=generator)
            if row.circulates and row.expires_at >= now():
                return Assignment(row.id, row.token, Kind(row.kind))
            # By itself: whoever waits for a face must not hold another.
            release(connection, row, state="expired")


def _choose(
    connection: sa.Connection, person: int, *, settings: SiteSettings, generator: random.Random
) -> Assignment | None:
    draw = generator.random()
    face, kind = None, Kind.GOLD
    if draw < settings.gold_share:
        face = _draw(_gold_for(person), connection, generator)
    elif draw < settings.gold_share + settings.repeat_share:
        face, kind = _draw(_to_repeat(connection, person, settings), connection, generator), Kind.REPEAT
    if face is None:
        face, kind = _take(connection, person, settings.wanted_annotators)
    if face is None:
        return None
    token = new_token()
    values = {
        "token": token,
        "person": person,
        "face": face,
        "kind": kind,
        "state": "open",
        "expires_at": now() + int(settings.assignment_minutes * 60 * SECOND),
    }
    number = connection.scalar(sa.insert(assignments).values(values).returning(assignments.c.id))
    assert number is not None
    return Assignment(number, token, kind)


def all_have_the_wanted_number(connection: sa.Connection, wanted: int) -> bool:
    """Whether every face in circulation was scored by so many different annotators."""
    short = sa.select(faces.c.id).where(IS_UNFINISHED, faces.c.rated < wanted).limit(1)
    return connection.execute(short).first() is None


def expire(database: SiteDatabase) -> None:
    """Give the faces of annotators who vanished back to the others."""
    is_over = sa.and_(IS_OPEN, assignments.c.expires_at < now())
    with database.reading() as connection:
        if connection.execute(sa.select(assignments.c.id).where(is_over).limit(1)).first() is None:
            return
    with database.writing() as connection:
        # In one order, so that two who do this at once cannot wait for each other.
        over = sa.select(assignments).where(is_over).order_by(assignments.c.face).limit(EXPIRED_AT_ONCE)
        for row in connection.execute(over.with_for_update(skip_locked=True)).all():
            release(connection, row, state="expired")


def release(connection: sa.Connection, row: "sa.Row[Any]", *, state: str) -> None:
    """End an assignment that is open and has no answer; its face is free for others."""
    ended = sa.update(assignments).where(assignments.c.id == row.id, IS_OPEN).values(state=state)
    if connection.execute(ended).rowcount and row.kind in COUNTED:
        add_to_face(connection, row.face, taken=-1)


def add_to_face(connection: sa.Connection, face: int, *, taken: int = 0, rated: int = 0) -> None:
    """Change the counts of a face."""
    counts = {"taken": faces.c.taken + taken, "rated": faces.c.rated + rated}
    connection.execute(sa.update(faces).where(faces.c.id == face).values(counts))


def take_place(connection: sa.Connection, face: int) -> bool:
    """Raise `taken` of a face by one, if that is still below its target."""
    free = sa.update(faces).where(faces.c.id == face, IS_FREE).values(taken=faces.c.taken + 1)
    return bool(connection.execute(free).rowcount)


def hold_person(connection: sa.Connection, person: int) -> None:
    """Make other requests of the same annotator wait until the transaction ends."""
    connection.execute(sa.select(people.c.id).where(people.c.id == person).with_for_update())


def _shown(connection: sa.Connection, person: int) -> "sa.Row[Any] | None":
    """What the annotator has before them, and whether its face still circulates."""
    query = (
        sa.select(assignments, sa.case((CIRCULATES, 1), else_=0).label("circulates"))
        .join(faces, faces.c.id == assignments.c.face)
        .where(assignments.c.person == person, IS_OPEN)
    )
    return connection.execute(query).first()


def _never_shown_to(person: int) -> sa.ColumnElement[bool]:
    seen = sa.select(assignments.c.id).where(
        assignments.c.person == person, assignments.c.face == faces.c.id, IS_FIRST_TIME
    )
    return ~sa.exists(seen.correlate(faces))


def _take(connection: sa.Connection, person: int, wanted: int) -> tuple[int | None, Kind]:
    """A face that needs another annotator, with a place of it taken."""
    place = connection.scalar(sa.select(people.c.place).where(people.c.id == person)) or 0
    of_wanted = sa.select(faces.c.id, faces.c.place).where(
        IS_FREE, faces.c.taken < wanted, _never_shown_to(person)
    )
    behind = of_wanted.where(faces.c.place > place).order_by(faces.c.place)
    before = of_wanted.where(faces.c.place <= place).order_by(faces.c.place)
    for query in (behind, before):
        row = _take_first(connection, query)
        if row is not None:
            at = sa.update(people).where(people.c.id == person).values(place=row.place)
            connection.execute(at)
            return row.id, Kind.NEW
    if not all_have_the_wanted_number(connection, wanted):
        return None, Kind.NEW
    widest = (
        sa.select(faces.c.id, faces.c.place)
        .where(IS_FREE, _never_shown_to(person))
        .order_by(faces.c.half_width.desc(), faces.c.place)
    )
    row = _take_first(connection, widest)
    return (None if row is None else row.id), Kind.EXTRA


def _take_first(connection: sa.Connection, query: "sa.Select[Any]") -> "sa.Row[Any] | None":
    """The first row of a query over faces of which a place could be taken.

    Faces that others are just being given are passed over; where there are only such, theirs is waited for.
    """
    for passes_over in (True, False):
        while True:
            locked = query.limit(1).with_for_update(of=faces, skip_locked=passes_over)
            row = connection.execute(locked).first()
            if row is None:
                break
            if take_place(connection, row.id):
                return row
    return None


def _gold_for(person: int) -> "sa.Select[Any]":
    return (
        sa.select(faces.c.id)
        .where(CIRCULATES, faces.c.gold_score.is_not(None), _never_shown_to(person))
        .order_by(faces.c.place)
        .limit(GOLD_DRAWN_FROM)
    )


def _to_repeat(connection: sa.Connection, person: int, settings: SiteSettings) -> "sa.Select[Any]":
    """The latest faces that the annotator scored long enough ago, and once."""
    own = sa.select(assignments.c.answered_at).where(
        assignments.c.person == person, assignments.c.answered_at.is_not(None)
    )
    recent = own.order_by(assignments.c.answered_at.desc()).offset(settings.repeat_distance - 1).limit(1)
    latest = connection.scalar(recent)
    second = sa.text(IS_SECOND_TIME.text.replace("annotation_assignments", "again"))
    again = assignments.alias("again")
    repeated = sa.select(again.c.id).where(
        again.c.person == person, again.c.face == assignments.c.face, second
    )
    return (
        sa.select(assignments.c.face)
        .join(faces, faces.c.id == assignments.c.face)
        .where(
            assignments.c.person == person,
            assignments.c.state == "rated",
            assignments.c.kind != Kind.REPEAT,
            # Without that many answers there is nothing to repeat.
            assignments.c.answered_at < (latest or 0),
            CIRCULATES,
            ~sa.exists(repeated),
        )
        .order_by(assignments.c.answered_at.desc())
        .limit(REPEATS_DRAWN_FROM)
    )


def _draw(query: "sa.Select[Any]", connection: sa.Connection, generator: random.Random) -> int | None:
    """One of the faces of a query, each as likely."""
    found = list(connection.scalars(query))
    return generator.choice(found) if found else None
