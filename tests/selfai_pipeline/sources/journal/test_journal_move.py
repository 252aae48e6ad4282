"""From the journal in SELFAI_HOME to another one: everything is taken over, and nothing is forgotten."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home
from selfai_pipeline.sources import journal_move
from selfai_pipeline.sources.journal import Journal, open_journal
from selfai_pipeline.sources.journal_move import move_journal
from selfai_pipeline.sources.outcomes import FAILED, STORED, Found, Outcome

DAY, NEXT_DAY = "2026-01-01", "2026-01-02"
PICTURES = [Found(f"http://x.org/{number}.jpg", "picture", 1) for number in range(20)]


@pytest.fixture
def other_url(journal_url: str, tmp_path: Path) -> str:
    """The address of a new journal outside of the home."""
    (tmp_path / "journal.sqlite").unlink(missing_ok=True)
    return journal_url


@pytest.fixture
def crawled_home(home: Home) -> Home:
    """A home whose own journal holds two days, with an address that PostgreSQL would not take."""
    with Journal(home.journal_url) as journal:
        for day in (DAY, NEXT_DAY):
            journal.discover("site", day, PICTURES, most=100)
            for picture in PICTURES[:12]:
                journal.record("site", day, Outcome(picture, FAILED, "r", reason="timeout"))
                journal.record("site", day, Outcome(picture, STORED, "r", image_id="0" * 64))
        with journal.engine.begin() as connection:
            url = sa.bindparam("url", "http://x.org/a\0b.jpg")
            change = sa.text("UPDATE fetches SET url = :url WHERE url = 'http://x.org/3.jpg'").bindparams(url)
            connection.execute(change)
    return home


def test_an_empty_journal_is_not_taken_for_the_one_that_the_home_has(
    crawled_home: Home, other_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SELFAI_JOURNAL_URL", other_url)
    with pytest.raises(
        InputError, match=r"SELFAI_JOURNAL_URL: the journal that it names is empty.*move-journal"
    ):
        open_journal(crawled_home)
    crawled_home.own_journal.rename(crawled_home.root / "elsewhere.sqlite")
    with open_journal(crawled_home) as journal:
        assert journal.is_empty()


def test_a_moved_journal_says_the_same(
    crawled_home: Home, other_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_move, "ROWS_AT_ONCE", 7)
    with Journal(crawled_home.journal_url) as before:
        outcomes = {day: list(before.outcomes("site", day)) for day in (DAY, NEXT_DAY)}
        waiting = [one.found for one in before.pending("site", DAY, rules="r")]
    monkeypatch.setenv("SELFAI_JOURNAL_URL", other_url)
    assert move_journal(crawled_home) == 2 * (20 + 24)
    with open_journal(crawled_home) as after:
        for day, several in outcomes.items():
            moved = {one.found.url.replace("\ufffd", "\0"): one for one in after.outcomes("site", day)}
            assert list(moved) == [one.found.url for one in several]
            assert all(moved[one.found.url].fetched_at == one.fetched_at for one in several)
        assert [one.found for one in after.pending("site", DAY, rules="r")] == waiting
        assert after.discover("site", DAY, [*PICTURES[4:], Found("http://x.org/new", "page")], most=21) == 1
        assert len(list(after.outcomes("site", DAY))) == 12
    with Journal(f"sqlite:///{crawled_home.own_journal}") as kept:
        assert len(list(kept.outcomes("site", DAY))) == 12


def test_a_journal_is_not_moved_over_another_one(
    crawled_home: Home, other_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SELFAI_JOURNAL_URL", other_url)
    with Journal(other_url) as journal:
        journal.discover("site", DAY, PICTURES[:1], most=10)
    with pytest.raises(InputError, match=r"is not empty\. Name a database that has no journal yet"):
        move_journal(crawled_home)
    with Journal(other_url) as journal:
        assert journal.addresses("site", DAY) == {PICTURES[0].url}


def test_there_has_to_be_a_journal_to_move_and_a_place_for_it(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="SELFAI_JOURNAL_URL: it names no journal to move to"):
        move_journal(home)
    monkeypatch.setenv("SELFAI_JOURNAL_URL", f"sqlite:///{tmp_path / 'other.sqlite'}")
    with pytest.raises(InputError, match=r"journal\.sqlite: there is no journal to move"):
        move_journal(home)
