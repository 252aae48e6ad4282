"""Links let people in until they are replaced or revoked; what is kept of them cannot be used by a reader."""

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from selfai_pipeline.errors import InputError, StorageError
from selfai_pipeline.labels.site.database import SiteDatabase, metadata, people, sessions
from selfai_pipeline.labels.site.limits import RateLimit
from selfai_pipeline.labels.site.people import (
    Role,
    begin_session,
    invite,
    person_of_link,
    person_of_session,
    revoke,
)
from selfai_pipeline.labels.site.tokens import hash_of, load_key

KEY = b"k" * 32


def signed_in(database: SiteDatabase, token: str, *, days: float = 1) -> str:
    with database.writing() as connection:
        person = person_of_link(connection, token, key=KEY)
        assert person is not None
        return begin_session(connection, person, key=KEY, days=days)


def whose(database: SiteDatabase, session: str, *, key: bytes = KEY) -> str | None:
    with database.reading() as connection:
        person = person_of_session(connection, session, key=key)
    return person and person.name


def test_a_link_opens_sessions_until_it_is_revoked(database: SiteDatabase) -> None:
    token = invite(database, "Zoë 1", key=KEY, group="north")
    phone, laptop = signed_in(database, token), signed_in(database, token)
    assert whose(database, phone) == whose(database, laptop) == "Zoë 1"
    revoke(database, "Zoë 1")
    assert whose(database, phone) is None
    with database.reading() as connection:
        assert person_of_link(connection, token, key=KEY) is None


def test_a_new_link_ends_the_old_one_and_its_sessions_and_keeps_the_group(database: SiteDatabase) -> None:
    old = invite(database, "ann", key=KEY, group="north")
    session = signed_in(database, old)
    new = invite(database, "ann", key=KEY)
    assert whose(database, session) is None
    with database.reading() as connection:
        assert person_of_link(connection, old, key=KEY) is None
        person = person_of_link(connection, new, key=KEY)
    assert (person.name, person.group, person.role) == ("ann", "north", Role.ANNOTATOR)


def test_a_session_ends(database: SiteDatabase) -> None:
    session = signed_in(database, invite(database, "ann", key=KEY), days=-1)
    assert whose(database, session) is None


def test_neither_links_nor_sessions_can_be_read_from_the_database(database: SiteDatabase) -> None:
    token = invite(database, "ann", key=KEY)
    session = signed_in(database, token)
    with database.reading() as connection:
        kept = str([connection.execute(sa.select(table)).all() for table in (people, sessions)])
    assert token not in kept
    assert session not in kept
    # Without the key nothing can even be checked.
    assert hash_of(token, KEY) in kept
    assert whose(database, session, key=b"x" * 32) is None


def test_nothing_is_kept_about_an_annotator_but_name_group_and_hash(database: SiteDatabase) -> None:
    assert set(metadata.tables["annotation_people"].columns.keys()) == {
        *("id", "name", "role", "group", "link_hash", "revoked_at", "place")
    }


@pytest.mark.parametrize("name", ["", " ann", "ann ", "=1+1", "a" * 65, "a\nb", "<b>"])
def test_a_name_that_could_do_harm_elsewhere_is_refused(database: SiteDatabase, name: str) -> None:
    with pytest.raises(InputError, match="cannot be used"):
        invite(database, name, key=KEY)


def test_a_name_is_one_however_its_accents_are_spelled(database: SiteDatabase) -> None:
    invite(database, "Jos\u00e9", key=KEY)
    invite(database, "Jose\u0301", key=KEY)
    with database.reading() as connection:
        assert connection.scalars(sa.select(people.c.name)).all() == ["Jos\u00e9"]
    revoke(database, "Jose\u0301")


def test_a_name_keeps_its_role_and_an_unknown_one_is_named(database: SiteDatabase) -> None:
    invite(database, "boss", key=KEY, role=Role.ADMIN)
    with pytest.raises(InputError, match="name of an admin"):
        invite(database, "boss", key=KEY)
    with pytest.raises(InputError, match=r"nobody called 'bos'.*Invited are: boss"):
        revoke(database, "bos")


def test_whoever_is_revoked_gives_their_face_back(crowd: Callable[..., Any]) -> None:
    site = crowd(1, wanted_annotators=1)
    ann, ben = site.person("ann"), site.person("ben")
    site.show(ann)
    assert site.show(ben) is None
    revoke(site.database, "ann")
    assert site.show(ben) is not None


def test_the_key_is_made_once_for_its_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "home" / "annotations.key"
    key = load_key(path)
    assert len(key) == 32
    assert load_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["annotations.key"]
    path.write_bytes(b"short")
    with pytest.raises(StorageError, match="is damaged"):
        load_key(path)


def test_a_limit_admits_so_many_a_minute_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = [0.0]
    limit = RateLimit(6, clock=lambda: moment[0])
    assert [limit.admits("ann") for _ in range(8)] == [True] * 6 + [False] * 2
    assert limit.admits("ben")
    moment[0] = 10.0
    assert [limit.admits("ann") for _ in range(2)] == [True, False]
    moment[0] = 1000.0
    assert sum(limit.admits("ann") for _ in range(20)) == 6
    monkeypatch.setattr("selfai_pipeline.labels.site.limits.MOST_REMEMBERED", 10)
    for number in range(100):
        limit.admits(number)
    assert len(limit._left) <= 10
