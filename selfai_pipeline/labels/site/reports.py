"""Faces that were taken out of circulation, and what an administrator decides about them."""

from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa

from selfai_pipeline.labels.site.answering import IN_WORDS, FaceState, Skip
from selfai_pipeline.labels.site.database import SiteDatabase, assignments, decisions, faces, now, people

MOST_SHOWN = 100
UNDECIDED = (FaceState.REPORTED, FaceState.SET_ASIDE)


class Decision(StrEnum):
    """What becomes of a face: shown again, or never."""

    PUT_BACK = "put_back"
    KEEP_OUT = "keep_out"


@dataclass(frozen=True)
class Report:
    """A face that waits for a decision: `token` stands for it, `reasons` are (reason, who) in words."""

    token: str
    is_urgent: bool
    reasons: list[tuple[str, str]]


def undecided(connection: sa.Connection) -> list[Report]:
    """Faces that wait for a decision, reports before those that annotators could not score."""
    query = (
        sa.select(faces.c.id, faces.c.state, assignments.c.token, assignments.c.reason, people.c.name)
        .join(assignments, assignments.c.face == faces.c.id)
        .join(people, people.c.id == assignments.c.person)
        .where(faces.c.state.in_(UNDECIDED), assignments.c.state == "skipped")
        .order_by(sa.case((faces.c.state == FaceState.REPORTED, 0), else_=1), assignments.c.id)
    )
    found: dict[int, Report] = {}
    for row in connection.execute(query):
        report = found.setdefault(row.id, Report(row.token, row.state == FaceState.REPORTED, []))
        report.reasons.append((IN_WORDS[Skip(row.reason)], row.name))
    return list(found.values())[:MOST_SHOWN]


def undecided_crop(connection: sa.Connection, token: str) -> str | None:
    """The SHA-256 of the crop of a face that waits for a decision; None for anything else."""
    return connection.scalar(_waiting(token).with_only_columns(faces.c.crop_sha256))


def decide(database: SiteDatabase, person: int, token: str, decision: Decision) -> bool:
    """Keep an administrator's decision; False where the face does not wait for one (any more)."""
    with database.writing() as connection:
        face = connection.scalar(_waiting(token).with_only_columns(faces.c.id).with_for_update(of=faces))
        if face is None:
            return False
        state = FaceState.OPEN if decision is Decision.PUT_BACK else FaceState.KEPT_OUT
        connection.execute(sa.update(faces).where(faces.c.id == face).values(state=state))
        values = {"face": face, "person": person, "decision": decision, "decided_at": now()}
        connection.execute(sa.insert(decisions).values(values))
    return True


def _waiting(token: str) -> "sa.Select[tuple[int]]":
    return (
        sa.select(faces.c.id)
        .join(assignments, assignments.c.face == faces.c.id)
        .where(assignments.c.token == token, assignments.c.state == "skipped", faces.c.state.in_(UNDECIDED))
    )
