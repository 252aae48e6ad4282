"""The journal: frontier and seen-set, whose last row an address counts."""

import random

import pytest
import sqlalchemy as sa

from selfai_pipeline.sources.journal import Journal
from selfai_pipeline.sources.outcomes import FAILED, READ, REFUSED, STORED, UNCHANGED, Found, Links, Outcome

DAY = "2026-01-01"
PAGE = Found("http://x.org/", "page")
PICTURE = Found("http://x.org/a.jpg", "picture", 1)


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


def test_discovery_takes_what_is_new_up_to_the_limit_whatever_is_known_among_it(journal: Journal) -> None:
    many = [Found(f"http://x.org/\U0001f600/{number}", "page", number % 3) for number in range(2500)]
    mixed = [*many[:1200], *many]
    random.Random(5).shuffle(mixed)
    order = list(dict.fromkeys(mixed))
    assert journal.discover("site", DAY, many[:700], most=2000) == 700
    assert journal.discover("site", DAY, mixed, most=2000) == 1300
    new = [found for found in order if found not in many[:700]][:1300]
    assert [one.found for one in journal.pending("site", DAY, rules="r", limit=5000)] == [*many[:700], *new]
    assert journal.addresses("site", DAY) == {found.url for found in [*many[:700], *new]}


def test_pending_addresses_come_in_parts_one_behind_the_other(journal: Journal) -> None:
    many = [Found(f"http://x.org/{number}", "page") for number in range(10)]
    journal.discover("site", DAY, many, most=10)
    journal.record("site", DAY, Outcome(many[4], READ, "r"))
    seen, after = [], 0
    while waiting := journal.pending("site", DAY, rules="r", after=after, limit=4):
        seen += [one.found for one in waiting]
        after = waiting[-1].row
    assert seen == [found for found in many if found != many[4]]


def test_outcomes_come_sorted_and_may_be_added_to_while_they_are_read(journal: Journal) -> None:
    names = ["Z", "a", "_", "B", "é", "~", "10", "9", "a/b", "A-b"]
    for name in names:
        journal.record(
            "site", DAY, Outcome(Found(f"http://x.org/{name}", "page"), FAILED, "r", reason="timeout")
        )
    read = []
    for outcome in journal.outcomes("site", DAY):
        read.append(outcome.found.url)
        assert outcome.status == FAILED
        journal.record("site", DAY, Outcome(outcome.found, READ, "r"))
    assert read == sorted(f"http://x.org/{name}" for name in names)
    assert {outcome.status for outcome in journal.outcomes("site", DAY)} == {READ}


@pytest.mark.parametrize("bad", ["\0", "\ud800", "a\0\udfffb"])
def test_text_that_no_database_keeps_has_its_bad_characters_replaced(journal: Journal, bad: str) -> None:
    page, picture = Found(f"http://x.org/{bad}", "page"), Found(f"http://x.org/{bad}.jpg", "picture", 1)
    journal.discover("site", DAY, [page, page], most=10)
    outcome = Outcome(
        page, READ, "r", reason=bad, etag=bad, answered_url=bad, links=Links([bad], [bad]).to_json()
    )
    journal.record("site", DAY, outcome, discovered=[picture], most=10)
    first = list(journal.outcomes("site", DAY))
    journal.record("site", DAY, outcome, discovered=[picture], most=10)
    assert list(journal.outcomes("site", DAY)) == first
    cleaned = "".join("\ufffd" if character in "\0\ud800\udfff" else character for character in bad)
    assert (first[0].found.url, first[0].reason) == (f"http://x.org/{cleaned}", cleaned)
    assert urls(journal) == [f"http://x.org/{cleaned}.jpg"]
    assert journal.last("site", DAY, page.url) == journal.last("site", DAY, first[0].found.url)
    assert [one.etag for one in journal.earlier("site", "2026-01-02", [page.url]).values()] == [cleaned]


def test_an_address_may_be_longer_than_an_index_of_postgresql_takes(journal: Journal) -> None:
    noise = "".join(random.Random(7).choices("0123456789ABCDEF", k=12_000))
    deep = [Found(f"file:///{noise}/{name}", "file") for name in ("a", "b")]
    assert journal.discover("site", DAY, deep, most=10) == 2
    journal.record("site", DAY, Outcome(deep[0], STORED, "r", image_id="0" * 64))
    assert urls(journal) == [deep[1].url]
    assert list(journal.earlier("site", "2026-01-02", [found.url for found in deep])) == [deep[0].url]


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


def test_the_same_outcome_again_keeps_its_first_moment(journal: Journal) -> None:
    journal.discover("site", DAY, [PICTURE], most=10)
    failure = Outcome(PICTURE, FAILED, "r", reason="timeout")
    journal.record("site", DAY, failure)
    first = list(journal.outcomes("site", DAY))
    journal.record("site", DAY, failure)
    assert list(journal.outcomes("site", DAY)) == first


def test_an_outcome_and_what_it_led_to_are_written_together_or_not_at_all(journal: Journal) -> None:
    journal.discover("site", DAY, [PAGE], most=10)
    broken = [PICTURE, Found("http://x.org/b.jpg", None)]  # type: ignore[arg-type]
    with pytest.raises(sa.exc.IntegrityError):
        journal.record("site", DAY, Outcome(PAGE, READ, "r"), discovered=broken, most=10)
    assert urls(journal) == [PAGE.url]
    assert list(journal.outcomes("site", DAY)) == []


def test_it_knows_whether_the_site_ever_answered(journal: Journal) -> None:
    assert not journal.knows("site", DAY)
    journal.discover("site", DAY, [PAGE], most=10)
    assert journal.knows("site", DAY)
    journal.record("site", DAY, Outcome(PAGE, FAILED, "r", reason="connection_refused"))
    assert not journal.was_reached("site", DAY)
    journal.record("site", DAY, Outcome(PAGE, FAILED, "r", reason="http_503"))
    assert journal.was_reached("site", DAY)
