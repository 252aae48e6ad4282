"""The journal: frontier and seen-set, whose last row an address counts."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from selfai_pipeline.errors import StorageError
from selfai_pipeline.sources.journal import (
    FAILED,
    READ,
    REFUSED,
    STORED,
    UNCHANGED,
    Found,
    Journal,
    Links,
    Outcome,
)

DAY = "2026-01-01"
PAGE = Found("http://x.org/", "page")
PICTURE = Found("http://x.org/a.jpg", "picture", 1)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(f"sqlite:///{tmp_path / 'journal.sqlite'}")


def urls(journal: Journal, rules: str = "r") -> list[str]:
    return [pending.found.url for pending in journal.pending("site", DAY, rules=rules)]


def test_a_discovered_address_is_pending_until_its_outcome_is_final(journal: Journal) -> None:
    journal.discover("site", DAY, [PAGE], most=10)
    assert urls(journal) == [PAGE.url]
    journal.record("site", DAY, Outcome(PAGE, READ, "r"), discovered=[PICTURE], most=10)
    assert urls(journal) == [PICTURE.url]
    journal.record("site", DAY, Outcome(PICTURE, FAILED, "r", reason="timeout"))
    assert urls(journal) == [PICTURE.url]
    journal.record("site", DAY, Outcome(PICTURE, STORED, "r", image_id="0" * 64))
    assert urls(journal) == []


def test_an_address_is_discovered_once_a_day(journal: Journal) -> None:
    assert journal.discover("site", DAY, [PAGE, PAGE, PICTURE], most=10) == 2
    assert journal.discover("site", DAY, [PICTURE], most=10) == 0
    assert journal.discover("site", "2026-01-02", [PICTURE], most=10) == 1
    assert journal.discover("other", DAY, [PICTURE], most=10) == 1


def test_discovery_ends_at_its_limit(journal: Journal) -> None:
    many = [Found(f"http://x.org/{number}", "page") for number in range(5)]
    assert journal.discover("site", DAY, many, most=3) == 3
    assert journal.discover("site", DAY, many, most=3) == 0
    assert urls(journal) == [found.url for found in many[:3]]


def test_a_refusal_that_comes_from_the_limits_is_asked_again_under_other_limits(journal: Journal) -> None:
    robots = Found("http://x.org/private.jpg", "picture")
    journal.discover("site", DAY, [PICTURE, robots], most=10)
    journal.record("site", DAY, Outcome(PICTURE, REFUSED, "old", reason="too_many_bytes"))
    journal.record("site", DAY, Outcome(robots, REFUSED, "old", reason="robots"))
    assert urls(journal, "old") == []
    assert urls(journal, "new") == [PICTURE.url]


def test_limits_and_deny_lists_count_for_their_own_refusals_only(journal: Journal) -> None:
    denied = Found("http://x.org/denied.jpg", "picture")
    journal.discover("site", DAY, [PICTURE, denied], most=10)
    journal.record("site", DAY, Outcome(PICTURE, REFUSED, "limits.lists", reason="too_many_bytes"))
    journal.record("site", DAY, Outcome(denied, REFUSED, "limits.lists", reason="denied_picture"))
    assert urls(journal, "limits.lists") == []
    assert urls(journal, "limits.others") == [denied.url]
    assert urls(journal, "others.lists") == [PICTURE.url]


def test_an_unchanged_picture_is_final(journal: Journal) -> None:
    journal.discover("site", DAY, [PICTURE], most=10)
    journal.record("site", DAY, Outcome(PICTURE, UNCHANGED, "r", reason="not_modified"))
    assert urls(journal) == []


def test_it_finds_what_an_address_brought_on_another_day(journal: Journal) -> None:
    links = Links(["http://x.org/a.jpg"], ["http://x.org/more"])
    page = Outcome(PAGE, READ, "r", etag='"p"', links=links.to_json())
    old = Outcome(PICTURE, STORED, "r", image_id="0" * 64, etag='"old"')
    new = Outcome(PICTURE, STORED, "r", image_id="1" * 64, etag='"new"')
    same = Outcome(PICTURE, UNCHANGED, "r", image_id="1" * 64, unchanged_since="2025-12-02")
    gone = Outcome(PICTURE, REFUSED, "r", reason="http_404")
    for day, outcome in {"01": old, "02": new, "03": same, "04": gone}.items():
        journal.record("site", f"2025-12-{day}", outcome)
    journal.record("site", "2025-12-01", page)
    journal.record("other", "2025-12-05", old)
    asked = [PAGE.url, PICTURE.url, "http://x.org/never.jpg"]
    earlier = journal.earlier("site", DAY, asked)
    assert sorted(earlier) == [PAGE.url, PICTURE.url]
    assert earlier[PICTURE.url].image_id == "1" * 64
    assert earlier[PICTURE.url].unchanged_since == "2025-12-02", "the day that holds it, not the last one"
    assert (earlier[PAGE.url].unchanged_since, earlier[PAGE.url].links) == ("2025-12-01", None)
    read = journal.last("site", "2025-12-01", PAGE.url)
    assert read is not None
    assert Links.from_json(read.links or "") == links
    assert journal.earlier("site", "2025-12-03", [PICTURE.url])[PICTURE.url].etag == '"new"'


OLDEST_TABLE = """
    CREATE TABLE fetches (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, source TEXT NOT NULL, day TEXT NOT NULL,
        url TEXT NOT NULL, kind TEXT NOT NULL, depth INTEGER NOT NULL, status TEXT NOT NULL, reason TEXT,
        rules TEXT NOT NULL, fetched_at TEXT NOT NULL, image_id TEXT, format TEXT, bytes BIGINT,
        width BIGINT, height BIGINT, orientation INTEGER, fetched_sha256 TEXT
    )
"""


def old_journal(folder: Path) -> str:
    file = folder / "journal.sqlite"
    with sqlite3.connect(file) as connection:
        connection.execute(OLDEST_TABLE)
        connection.execute(
            "INSERT INTO fetches (source, day, url, kind, depth, status, rules, fetched_at, image_id) "
            "VALUES ('site', ?, ?, 'picture', 1, 'stored', 'r', '2026-01-01T00:00:00+00:00', ?)",
            (DAY, PICTURE.url, "0" * 64),
        )
    connection.close()
    return f"sqlite:///{file}"


def test_a_journal_of_an_older_version_is_brought_up_to_date_and_keeps_what_it_has(tmp_path: Path) -> None:
    url = old_journal(tmp_path)
    with Journal(url) as journal:
        (outcome,) = journal.outcomes("site", DAY)
        assert (outcome.image_id, outcome.etag) == ("0" * 64, None)
        journal.record(
            "site", "2026-01-02", Outcome(PICTURE, UNCHANGED, "r", etag='"1"', unchanged_since=DAY)
        )
    with Journal(url) as journal:
        assert journal.earlier("site", "2026-01-03", [PICTURE.url])[PICTURE.url].etag == '"1"'


def test_processes_that_bring_it_up_to_date_at_once_do_not_hinder_each_other(tmp_path: Path) -> None:
    url = old_journal(tmp_path)
    opens = "import sys; from selfai_pipeline.sources.journal import Journal; Journal(sys.argv[1])"
    processes = [subprocess.Popen([sys.executable, "-c", opens, url]) for _ in range(4)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0, 0]
    with Journal(url) as journal:
        assert len(journal.outcomes("site", DAY)) == 1


def test_the_same_outcome_again_keeps_its_first_moment(journal: Journal) -> None:
    journal.discover("site", DAY, [PICTURE], most=10)
    failure = Outcome(PICTURE, FAILED, "r", reason="timeout")
    journal.record("site", DAY, failure)
    first = journal.outcomes("site", DAY)
    journal.record("site", DAY, failure)
    assert journal.outcomes("site", DAY) == first


def test_an_outcome_and_what_it_led_to_are_written_together_or_not_at_all(journal: Journal) -> None:
    journal.discover("site", DAY, [PAGE], most=10)
    broken = [PICTURE, Found("http://x.org/b.jpg", None)]  # type: ignore[arg-type]
    with pytest.raises(Exception, match="NOT NULL"):
        journal.record("site", DAY, Outcome(PAGE, READ, "r"), discovered=broken, most=10)
    assert urls(journal) == [PAGE.url]
    assert journal.outcomes("site", DAY) == []


def test_it_knows_whether_the_site_ever_answered(journal: Journal) -> None:
    assert not journal.knows("site", DAY)
    journal.discover("site", DAY, [PAGE], most=10)
    assert journal.knows("site", DAY)
    journal.record("site", DAY, Outcome(PAGE, FAILED, "r", reason="connection_refused"))
    assert not journal.was_reached("site", DAY)
    journal.record("site", DAY, Outcome(PAGE, FAILED, "r", reason="http_503"))
    assert journal.was_reached("site", DAY)


def test_two_processes_may_open_and_write_it_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'journal.sqlite'}"
    with Journal(url) as one, Journal(url) as two:
        one.discover("site", DAY, [PAGE], most=10)
        two.record("site", DAY, Outcome(PAGE, READ, "r"))
        assert urls(one) == []


def test_a_journal_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="journal"):
        Journal(f"sqlite:///{tmp_path / 'missing' / 'journal.sqlite'}")


@pytest.mark.parametrize("kept_bytes", [0, 100, 5000])
def test_a_damaged_journal_says_which_and_what_to_do(tmp_path: Path, kept_bytes: int) -> None:
    file = tmp_path / "journal.sqlite"
    with Journal(f"sqlite:///{file}") as journal:
        journal.discover("site", DAY, [Found(f"http://x.org/{n}", "page") for n in range(500)], most=500)
    content = file.read_bytes()
    file.write_bytes(content[:kept_bytes] + b"\xff" * (len(content) - kept_bytes))
    with pytest.raises(StorageError, match=r"journal\.sqlite is damaged .*copy of it back"):  # noqa: SIM117
        with Journal(f"sqlite:///{file}") as journal:
            journal.outcomes("site", DAY)
