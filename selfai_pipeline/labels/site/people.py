"""Who may score: invitations by link, sessions, revocation."""

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa

from selfai_pipeline.errors import InputError
from selfai_pipeline.labels.site.assigning import COUNTED, add_to_face, release
from selfai_pipeline.labels.site.database import (
    SECOND,
    SiteDatabase,
    answers,
    assignments,
    decisions,
    now,
    people,
    sessions,
)
from selfai_pipeline.labels.site.tokens import hash_of, new_token

NAME = re.compile(r"\w([\w .-]{0,62}[\w.-])?")
DAY = 24 * 3600 * SECOND
NOBODY = 0
"""The number of a person who was removed."""


class Role(StrEnum):
    """What a link is for."""

    ANNOTATOR = "annotator"
    ADMIN = "admin"


@dataclass(frozen=True)
class Person:
    """Somebody who was invited; `group` is empty where none is known."""

    number: int
    name: str
    role: Role
    group: str


def invite(
    database: SiteDatabase, name: str, *, key: bytes, group: str | None = None, role: Role = Role.ANNOTATOR
) -> str:
    """The secret of a new link for a person; an earlier link of that name, and its sessions, end.

    Args:
        group: None keeps that of an earlier invitation.

    Raises:
        InputError: the name or the group cannot be used, or the name has the other role.
    """
    name, group = _composed(name), group and _composed(group)
    for what, text in (("name", name), ("group", group or "x")):
        if not NAME.fullmatch(text):
            raise InputError(
                f"{text!r} cannot be used",
                where=f"the {what} of the invitation",
                mend="Write 64 letters, digits, spaces, dots, hyphens and underscores at most; begin with a "
                "letter or digit, and end with no space.",
            )
    token = new_token()
    with database.writing() as connection:
        known = connection.execute(sa.select(people).where(people.c.name == name)).first()
        values = {"link_hash": hash_of(token, key), "revoked_at": None}
        if known is None:
            values |= {"name": name, "role": role, "group": group or ""}
            connection.execute(sa.insert(people), values)
        elif known.role != role:
            raise InputError(
                f"{name!r} is the name of an {known.role}", where="the invitation", mend="Take another name."
            )
        else:
            values |= {} if group is None else {"group": group}
            connection.execute(sa.update(people).where(people.c.id == known.id).values(values))
            connection.execute(sa.delete(sessions).where(sessions.c.person == known.id))
    return token


def _composed(text: str) -> str:
    """With accents composed: one spelling of what looks the same."""
    return unicodedata.normalize("NFC", text)


def revoke(database: SiteDatabase, name: str) -> None:
    """End the link and the sessions of a person at once; ratings stay.

    Raises:
        InputError: nobody of that name was invited.
    """
    name = _composed(name)
    with database.writing() as connection:
        known = connection.execute(sa.select(people).where(people.c.name == name)).first()
        if known is None:
            names = ", ".join(connection.scalars(sa.select(people.c.name).order_by(people.c.name)))
            raise InputError(
                f"nobody called {name!r} was invited",
                where="the invitations",
                mend=f"Invited are: {names}." if names else "Nobody was.",
            )
        connection.execute(sa.update(people).where(people.c.id == known.id).values(revoked_at=now()))
        connection.execute(sa.delete(sessions).where(sessions.c.person == known.id))
        shown = sa.select(assignments).where(assignments.c.person == known.id, assignments.c.state == "open")
        for row in connection.execute(shown).all():
            release(connection, row, state="expired")


def remove_people(database: SiteDatabase, names: Collection[str]) -> int:
    """Delete people, and everything that they said; returns how many there were.

    A face that they scored counts one annotator less and is shown to another one. What an administrator
    decided about faces stays, and no longer tells who did.
    """
    removed = 0
    for name in sorted(names):
        with database.writing() as connection:
            number = connection.scalar(sa.select(people.c.id).where(people.c.name == _composed(name)))
            if number is None:
                continue
            own = sa.select(assignments).where(assignments.c.person == number)
            for row in connection.execute(own).all():
                if row.kind in COUNTED and row.state in ("open", "rated"):
                    add_to_face(connection, row.face, taken=-1, rated=-1 if row.state == "rated" else 0)
            shown = sa.select(assignments.c.id).where(assignments.c.person == number)
            connection.execute(sa.delete(answers).where(answers.c.assignment.in_(shown)))
            connection.execute(sa.delete(assignments).where(assignments.c.person == number))
            connection.execute(sa.delete(sessions).where(sessions.c.person == number))
            connection.execute(sa.update(decisions).where(decisions.c.person == number).values(person=NOBODY))
            connection.execute(sa.delete(people).where(people.c.id == number))
            removed += 1
    return removed


def people_names(database: SiteDatabase) -> frozenset[str]:
    """The names of everybody who was invited."""
    with database.reading() as connection:
        return frozenset(connection.scalars(sa.select(people.c.name)))


def person_of_link(connection: sa.Connection, token: str, *, key: bytes) -> Person | None:
    """Whom a link belongs to; None for one that is wrong, replaced or revoked."""
    query = sa.select(people).where(people.c.link_hash == hash_of(token, key), people.c.revoked_at.is_(None))
    return _person(connection.execute(query).first())


def begin_session(connection: sa.Connection, person: Person, *, key: bytes, days: float) -> str:
    """The secret of a new session."""
    token = new_token()
    connection.execute(sa.delete(sessions).where(sessions.c.expires_at < now()))
    values = {"hash": hash_of(token, key), "person": person.number, "expires_at": now() + int(days * DAY)}
    connection.execute(sa.insert(sessions), values)
    return token


def person_of_session(connection: sa.Connection, token: str, *, key: bytes) -> Person | None:
    """Whom a session belongs to; None for one that is wrong, over, or of somebody who was revoked."""
    query = (
        sa.select(people)
        .join(sessions, sessions.c.person == people.c.id)
        .where(
            sessions.c.hash == hash_of(token, key),
            sessions.c.expires_at > now(),
            people.c.revoked_at.is_(None),
        )
    )
    return _person(connection.execute(query).first())


def end_session(connection: sa.Connection, token: str, *, key: bytes) -> None:
    connection.execute(sa.delete(sessions).where(sessions.c.hash == hash_of(token, key)))


def _person(row: "sa.Row[tuple[int, str, str, str]] | None") -> Person | None:
    return None if row is None else Person(row.id, row.name, Role(row.role), row.group)
