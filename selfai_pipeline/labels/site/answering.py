"""What annotators say: scores, skips with a reason, and taking the last of them back.

Nothing that was said is ever changed or deleted: `annotation_answers` has every word in its order, and an
assignment has what counts now. Each function is one transaction, and has come to the disk when it returns.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from selfai_pipeline.labels.site.assigning import COUNTED, add_to_face, hold_person, release, take_place
from selfai_pipeline.labels.site.database import (
    CIRCULATES,
    IS_FIRST_TIME,
    IS_OPEN,
    SECOND,
    SiteDatabase,
    answers,
    assignments,
    faces,
    now,
)
from selfai_pipeline.labels.site.settings import SiteSettings


class Skip(StrEnum):
    """Why an annotator does not score a face."""

    NOT_A_FACE = "not_a_face"
    SEVERAL_PEOPLE = "several_people"
    LOOKS_UNDER_AGE = "looks_under_age"
    SHOULD_NOT_BE_HERE = "should_not_be_here"


REPORTS = (Skip.LOOKS_UNDER_AGE, Skip.SHOULD_NOT_BE_HERE)
"""Reasons that take the picture out of circulation at once, until an administrator decides."""

IN_WORDS = {
    Skip.NOT_A_FACE: "Not a face",
    Skip.SEVERAL_PEOPLE: "More than one person",
    Skip.LOOKS_UNDER_AGE: "Looks under age",
    Skip.SHOULD_NOT_BE_HERE: "Should not be here",
}


class FaceState(StrEnum):
    """Whether a face is shown. Anything but open takes it out of circulation, and its ratings from tables."""

    OPEN = "open"
    SET_ASIDE = "set_aside"
    REPORTED = "reported"
    KEPT_OUT = "kept_out"


class Outcome(StrEnum):
    """What came of an answer."""

    KEPT = "kept"
    KEPT_BEFORE = "kept_before"
    TOO_LATE = "too_late"
    UNKNOWN = "unknown"


def give_score(database: SiteDatabase, person: int, token: str, score: int) -> Outcome:
    """Keep a score 0..9 for what the annotator is shown.

    The same answer sent twice counts once. One that comes after its assignment expired counts if nobody else
    was shown the face in between.
    """
    assert 0 <= score <= 9
    with database.writing() as connection:
        row = _assignment(connection, person, token)
        outcome = _is_answerable(connection, row)
        if row is None or outcome is not None:
            return outcome or Outcome.UNKNOWN
        _keep(connection, row, "score", state="rated", score=score)
        if row.kind in COUNTED:
            add_to_face(connection, row.face, rated=1)
    return Outcome.KEPT


def skip(database: SiteDatabase, person: int, token: str, reason: Skip, *, settings: SiteSettings) -> Outcome:
    """Keep that the annotator does not score what they are shown.

    A report (`REPORTS`) takes the face out of circulation at once; the other reasons do when
    `skips_to_set_aside` annotators see it so.
    """
    with database.writing() as connection:
        row = _assignment(connection, person, token)
        outcome = _is_answerable(connection, row)
        if row is None or outcome is not None:
            return outcome or Outcome.UNKNOWN
        _keep(connection, row, "skip", state="skipped", reason=reason)
        if row.kind in COUNTED:
            add_to_face(connection, row.face, taken=-1)
        if reason in REPORTS:
            _set_state(connection, row.face, FaceState.REPORTED)
        elif _skippers(connection, row.face) >= settings.skips_to_set_aside:
            _set_state(connection, row.face, FaceState.SET_ASIDE)
    return Outcome.KEPT


@dataclass(frozen=True)
class TakenBack:
    """The answer that was taken back: a score, or the reason of a skip."""

    score: int | None
    reason: Skip | None


def undo(database: SiteDatabase, person: int, *, settings: SiteSettings) -> TakenBack | None:
    """Take the annotator's last answer back, and show that face again.

    None where there is none, or where it has to stand: a report, for which an administrator decides, or a
    skip of a face that others have been given since.
    """
    with database.writing() as connection:
        hold_person(connection, person)
        last = connection.execute(
            sa.select(assignments)
            .where(assignments.c.person == person, assignments.c.answered_at.is_not(None))
            .order_by(assignments.c.answered_at.desc(), assignments.c.id.desc())
            .limit(1)
        ).first()
        if last is None or last.reason in REPORTS:
            return None
        shown = connection.execute(
            sa.select(assignments).where(assignments.c.person == person, IS_OPEN)
        ).first()
        # In one order, so that two who do this at once cannot wait for each other.
        both = {last.face, last.face if shown is None else shown.face}
        held = sa.select(faces.c.id).where(faces.c.id.in_(both)).order_by(faces.c.id).with_for_update()
        connection.execute(held).all()
        with connection.begin_nested() as so_far:
            if last.state == "skipped" and _skippers(connection, last.face) <= settings.skips_to_set_aside:
                _set_state(connection, last.face, FaceState.OPEN, only_from=FaceState.SET_ASIDE)
            is_possible = _circulates(connection, last.face)
            if is_possible and last.kind in COUNTED:
                if last.state == "rated":
                    add_to_face(connection, last.face, rated=-1)
                else:
                    is_possible = take_place(connection, last.face)
            if not is_possible:
                so_far.rollback()
                return None
        if shown is not None:
            release(connection, shown, state="expired")
        minutes = settings.assignment_minutes
        connection.execute(
            sa.update(assignments)
            .where(assignments.c.id == last.id)
            .values(
                state="open",
                score=None,
                reason=None,
                answered_at=None,
                expires_at=now() + int(minutes * 60 * SECOND),
            )
        )
        _say(connection, last.id, "undo")
    return TakenBack(last.score, None if last.reason is None else Skip(last.reason))


def shown_crop(connection: sa.Connection, person: int, token: str) -> str | None:
    """The SHA-256 of the crop that the annotator is being shown under this token; None for anything else."""
    query = (
        sa.select(faces.c.crop_sha256)
        .join(assignments, assignments.c.face == faces.c.id)
        .where(
            assignments.c.token == token,
            assignments.c.person == person,
            assignments.c.expires_at > now(),
            IS_OPEN,
            CIRCULATES,
        )
    )
    return connection.scalar(query)


def _assignment(connection: sa.Connection, person: int, token: str) -> "sa.Row[Any] | None":
    hold_person(connection, person)
    query = sa.select(assignments).where(assignments.c.token == token, assignments.c.person == person)
    return connection.execute(query.with_for_update()).first()


def _is_answerable(connection: sa.Connection, row: "sa.Row[Any] | None") -> Outcome | None:
    """None where an answer can be kept, else what is to be said; an expired assignment is taken up again."""
    if row is None:
        return Outcome.UNKNOWN
    if row.state in ("rated", "skipped"):
        return Outcome.KEPT_BEFORE
    if not _circulates(connection, row.face):
        release(connection, row, state="expired")
        return Outcome.TOO_LATE
    if row.state == "expired":
        other = sa.select(assignments.c.id).where(
            assignments.c.person == row.person, assignments.c.face == row.face, IS_FIRST_TIME
        )
        if row.kind not in COUNTED or connection.execute(other).first() is not None:
            return Outcome.TOO_LATE
        if not take_place(connection, row.face):
            return Outcome.TOO_LATE
    return None


def _keep(
    connection: sa.Connection,
    row: "sa.Row[Any]",
    said: str,
    *,
    state: str,
    score: int | None = None,
    reason: Skip | None = None,
) -> None:
    # Later than their answer before, even where the clock was set back: the last one is what is taken back.
    before = sa.select(sa.func.max(assignments.c.answered_at)).where(assignments.c.person == row.person)
    answered_at = max(now(), (connection.scalar(before) or 0) + 1)
    values = {"state": state, "score": score, "reason": reason, "answered_at": answered_at}
    connection.execute(sa.update(assignments).where(assignments.c.id == row.id).values(values))
    _say(connection, row.id, said, score=score, reason=reason)


def _say(connection: sa.Connection, assignment: int, said: str, **what: object) -> None:
    values = {"assignment": assignment, "said": said, "said_at": now(), **what}
    connection.execute(sa.insert(answers).values(values))


def _skippers(connection: sa.Connection, face: int) -> int:
    """How many annotators skipped a face for now, without a report."""
    query = sa.select(sa.func.count(sa.distinct(assignments.c.person))).where(
        assignments.c.face == face, assignments.c.state == "skipped", assignments.c.reason.not_in(REPORTS)
    )
    return connection.scalar(query) or 0


def _circulates(connection: sa.Connection, face: int) -> bool:
    return connection.scalar(sa.select(faces.c.id).where(faces.c.id == face, CIRCULATES)) is not None


def _set_state(
    connection: sa.Connection, face: int, state: FaceState, *, only_from: FaceState | None = None
) -> None:
    change = sa.update(faces).where(faces.c.id == face)
    if only_from is not None:
        change = change.where(faces.c.state == only_from)
    connection.execute(change.values(state=state))
