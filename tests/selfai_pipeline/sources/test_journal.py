"""The journal: frontier and seen-set, whose last row an address counts."""

from pathlib import Path

import pytest

from selfai_pipeline.errors import StorageError
from selfai_pipeline.sources.journal import FAILED, READ, REFUSED, STORED, Found, Journal, Outcome

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
