"""Several processes on one journal, and journals that an older version made."""

import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from selfai_pipeline.sources.journal import Journal
from selfai_pipeline.sources.outcomes import FAILED, READ, STORED, UNCHANGED, Found, Outcome

DAY, NEXT_DAY = "2026-01-01", "2026-01-02"
PAGE = Found("http://x.org/", "page")
PICTURE = Found("http://x.org/a.jpg", "picture", 1)
OpenNew = Callable[[str], Journal]


def discovered(journal: Journal, day: str) -> list[str]:
    """Every address that the day has been given, in order, those with a final outcome left out."""
    return [one.found.url for one in journal.pending("site", day, rules="r", limit=100_000)]


def in_threads(*works: Callable[[], None]) -> None:
    """Does the works at the same time; raises what one of them raises."""
    with ThreadPoolExecutor(len(works)) as pool:
        for done in [pool.submit(work) for work in works]:
            done.result()


def test_runs_that_crawl_the_same_days_at_once_neither_hinder_each_other_nor_add_an_address_twice(
    journal_url: str, open_new: OpenNew
) -> None:
    pages = [Found(f"http://x.org/{number}", "page") for number in range(60)]
    links = {page.url: [Found(f"{page.url}/{k % 7}.jpg", "picture", 1) for k in range(20)] for page in pages}

    def crawls(seed: int) -> Callable[[], None]:
        journal, order = open_new(journal_url), random.Random(seed)

        def work() -> None:
            for day in order.sample([DAY, NEXT_DAY], 2):
                for page in order.sample(pages, len(pages)):
                    outcome = Outcome(page, READ, "r")
                    journal.discover("site", day, order.sample(pages, 20), most=1000)
                    journal.record("site", day, outcome, discovered=links[page.url], most=1000)

        return work

    in_threads(*(crawls(seed) for seed in range(4)))
    journal = open_new(journal_url)
    for day in (DAY, NEXT_DAY):
        assert sorted(discovered(journal, day)) == sorted(
            {found.url for several in links.values() for found in several}
        )
        assert len(list(journal.outcomes("site", day))) == len(pages)
        with journal.engine.connect() as connection:
            rows = connection.execute(
                sa.text("SELECT url, status FROM fetches WHERE day = :day"), {"day": day}
            )
            counts = Counter(tuple(row) for row in rows)
        assert set(counts.values()) == {1}, "neither an address nor the same outcome stands there twice"


def test_runs_at_once_keep_to_the_limit_of_addresses_together(journal_url: str, open_new: OpenNew) -> None:
    def discovers(first: int) -> Callable[[], None]:
        journal = open_new(journal_url)
        own = [Found(f"http://x.org/{first + number}", "page") for number in range(200)]

        def work() -> None:
            for start in range(0, 200, 10):
                journal.discover("site", DAY, own[start : start + 10], most=255)

        return work

    in_threads(*(discovers(1000 * run) for run in range(4)))
    assert len(discovered(open_new(journal_url), DAY)) == 255


def test_whoever_reads_on_behind_the_last_row_misses_nothing_that_others_add_meanwhile(
    journal_url: str, open_new: OpenNew
) -> None:
    writers, each = 4, 60
    reading = open_new(journal_url)
    seen: list[str] = []

    def discovers(writer: int) -> Callable[[], None]:
        journal = open_new(journal_url)

        def work() -> None:
            for number in range(each):
                some = [Found(f"http://x.org/{writer}/{number}/{part}", "page") for part in range(3)]
                journal.discover("site", DAY, some, most=10_000)

        return work

    def reads() -> None:
        after = 0
        while len(seen) < 3 * writers * each:
            waiting = reading.pending("site", DAY, rules="r", after=after)
            missed = [
                one for one in reading.pending("site", DAY, rules="r", limit=10_000) if one.row <= after
            ]
            assert len(missed) == len(seen), "a row came up behind the reader"
            seen.extend(one.found.url for one in waiting)
            after = waiting[-1].row if waiting else after

    in_threads(reads, *(discovers(writer) for writer in range(writers)))
    assert len(set(seen)) == len(seen) == 3 * writers * each


def test_two_processes_may_open_and_write_it_at_once(journal_url: str, open_new: OpenNew) -> None:
    one, two = open_new(journal_url), open_new(journal_url)
    one.discover("site", DAY, [PAGE], most=10)
    two.record("site", DAY, Outcome(PAGE, READ, "r"))
    assert discovered(one, DAY) == []


@pytest.fixture
def old_url(journal_url: str) -> str:
    """The address of a journal as the first version made them, with a row of each kind."""
    engine = sa.create_engine(journal_url)
    number = (
        "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT" if engine.name == "sqlite" else "BIGSERIAL PRIMARY KEY"
    )
    rows = [
        {"day": DAY, "url": PICTURE.url, "status": "discovered", "image_id": None},
        {"day": DAY, "url": PICTURE.url, "status": STORED, "image_id": "0" * 64},
        {"day": DAY, "url": "http://x.org/ü", "status": "discovered", "image_id": None},
    ]
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f"CREATE TABLE fetches (id {number}, source TEXT NOT NULL, day TEXT NOT NULL, url TEXT NOT NULL, "
            "kind TEXT NOT NULL, depth INTEGER NOT NULL, status TEXT NOT NULL, reason TEXT, "
            "rules TEXT NOT NULL, fetched_at TEXT NOT NULL, image_id TEXT, format TEXT, bytes BIGINT, "
            "width BIGINT, height BIGINT, orientation INTEGER, fetched_sha256 TEXT)"
        )
        connection.exec_driver_sql("CREATE INDEX fetches_by_address ON fetches (source, day, url)")
        connection.execute(
            sa.text(
                "INSERT INTO fetches (source, day, url, kind, depth, status, rules, fetched_at, image_id) "
                "VALUES ('site', :day, :url, 'picture', 1, :status, 'r', '2026-01-01T00:00:00+00:00', "
                ":image_id)"
            ),
            rows,
        )
    engine.dispose()
    return journal_url


def test_a_journal_of_an_older_version_is_brought_up_to_date_and_keeps_what_it_has(
    old_url: str, open_new: OpenNew
) -> None:
    journal = open_new(old_url)
    (outcome,) = journal.outcomes("site", DAY)
    assert (outcome.image_id, outcome.etag) == ("0" * 64, None)
    assert discovered(journal, DAY) == ["http://x.org/ü"]
    known = [PICTURE, Found("http://x.org/ü", "picture"), PAGE]
    assert journal.discover("site", DAY, known, most=2) == 0, "what it has counts for the limit"
    assert journal.discover("site", DAY, known, most=10) == 1
    journal.record("site", NEXT_DAY, Outcome(PICTURE, UNCHANGED, "r", etag='"1"', unchanged_since=DAY))
    again = open_new(old_url)
    assert again.earlier("site", "2026-01-03", [PICTURE.url])[PICTURE.url].etag == '"1"'


def test_processes_that_bring_it_up_to_date_at_once_do_not_hinder_each_other(
    old_url: str, open_new: OpenNew
) -> None:
    opens = "import sys; from selfai_pipeline.sources.journal import Journal; Journal(sys.argv[1])"
    processes = [subprocess.Popen([sys.executable, "-c", opens, old_url]) for _ in range(4)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0, 0]
    assert len(list(open_new(old_url).outcomes("site", DAY))) == 1


def test_processes_that_make_it_at_once_do_not_hinder_each_other(journal_url: str, open_new: OpenNew) -> None:
    def opens() -> None:
        open_new(journal_url).record("site", DAY, Outcome(PAGE, FAILED, "r", reason="timeout"))

    in_threads(*[opens] * 6)
    assert len(list(open_new(journal_url).outcomes("site", DAY))) == 1
