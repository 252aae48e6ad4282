"""The journal of fetches: what was discovered, what came of it, and so what is still to be asked.

Append-only: an address is `discovered` once, then gets a row for every new outcome; its last row counts. It
is the crawl's frontier and seen-set at the same time, so a crawl that was killed goes on where it stopped. A
picture's outcome is committed after its bytes are in the store, never before.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Any

import sqlalchemy as sa

from selfai_pipeline.databases import place_of
from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home
from selfai_pipeline.sources.journal_database import SETTING, Transaction, open_database
from selfai_pipeline.sources.journal_rows import (
    add_discovered,
    is_repeat,
    last_row,
    last_rows,
    outcome_of,
    row_of,
    there_is,
)
from selfai_pipeline.sources.journal_table import (
    IS_DISCOVERED,
    IS_OUTCOME,
    fetches,
    hash_of_url,
    hold_day,
    prepare,
)
from selfai_pipeline.sources.outcomes import (
    FAILED,
    FINAL,
    HELD,
    LISTING,
    LOST,
    NEVER_CONNECTED,
    READ,
    REASONS_FROM_DENIALS,
    REASONS_FROM_LIMITS,
    REASONS_FROM_RULES,
    Found,
    Outcome,
    Pending,
)

WITHOUT_LINKS = [column for column in fetches.c if column.name != "links"]
READ_AT_ONCE = 1000


def open_journal(home: Home) -> "Journal":
    """The journal of a home: its own file, or where `SELFAI_JOURNAL_URL` says.

    Raises:
        InputError: it cannot be used; or it is empty, and what the home's own file knows would be forgotten.
        StorageError: as `Journal`.
    """
    journal = Journal(home.journal_url)
    own = f"sqlite:///{home.own_journal}"
    try:
        if home.journal_url != own and home.own_journal.exists() and journal.is_empty():
            with Journal(own) as before:
                is_forgotten = not before.is_empty()
            if is_forgotten:
                raise InputError(
                    f"the journal that it names is empty, and {home.own_journal} is not",
                    where=SETTING,
                    mend="Take it over with `selfai move-journal`; or move the file away, and what it knows "
                    "is crawled anew.",
                )
    except BaseException:
        journal.engine.dispose()
        raise
    return journal


def known_journals(home: Home) -> "Iterator[Journal]":
    """The journal in use, and the home's own file where another is in use and it still lies there; each is
    closed behind. Nothing is made where there is none.

    Raises:
        InputError, StorageError: as `open_journal`.
    """
    own = f"sqlite:///{home.own_journal}"
    if home.journal_url != own:
        with open_journal(home) as journal:
            yield journal
    if home.own_journal.exists():
        with Journal(own) as journal:
            yield journal


class Journal:
    """The journal of one `SELFAI_HOME`, in SQLite or PostgreSQL; a context manager.

    Several processes may read and write it at once.

    Args:
        url: an address as SQLAlchemy reads it.

    Raises:
        InputError: the address cannot be used, or the database cannot keep every text.
        StorageError: here and in every method: the database cannot be opened, read or written.
    """

    def __init__(self, url: str) -> None:
        self.engine = open_database(url)
        with self._transaction() as connection:
            prepare(connection)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.engine.dispose()

    @property
    def place(self) -> str:
        """Where it is, without its password."""
        return place_of(self.engine)

    def _transaction(self) -> Transaction:
        return Transaction(self.engine)

    def discover(self, source: str, day: str, addresses: Iterable[Found], *, most: int) -> int:
        """Add addresses that are new, as far as `most` in all allows; returns how many were added."""
        with self._transaction() as connection:
            known = hold_day(connection, source, day)
            return add_discovered(connection, source, day, addresses, most - known)

    def pending(
        self, source: str, day: str, *, rules: str, after: int = 0, limit: int = 500
    ) -> list[Pending]:
        """Addresses without a final outcome in the order of their discovery, from behind row `after` on."""
        limits, _, denials = rules.partition(".")
        outcome, reopened = fetches.alias(), fetches.alias()
        was_lost = there_is(
            reopened.c.source == source,
            reopened.c.day == day,
            reopened.c.url_hash == outcome.c.url_hash,
            reopened.c.reason == LOST,
            reopened.c.id > outcome.c.id,
        )
        is_settled = there_is(
            outcome.c.source == source,
            outcome.c.day == day,
            outcome.c.url_hash == fetches.c.url_hash,
            outcome.c.status.in_(FINAL),
            ~was_lost,
            sa.or_(
                outcome.c.reason.is_(None),
                outcome.c.reason.not_in(REASONS_FROM_RULES),
                outcome.c.rules == rules,
                sa.and_(outcome.c.reason.in_(REASONS_FROM_LIMITS), outcome.c.rules.startswith(f"{limits}.")),
                sa.and_(outcome.c.reason.in_(REASONS_FROM_DENIALS), outcome.c.rules.endswith(f".{denials}")),
            ),
        )
        query = (
            sa.select(fetches.c.id, fetches.c.url, fetches.c.kind, fetches.c.depth)
            .where(
                fetches.c.source == source,
                fetches.c.day == day,
                IS_DISCOVERED,
                fetches.c.id > after,
                ~is_settled,
            )
            .order_by(fetches.c.id)
            .limit(limit)
        )
        with self._transaction() as connection:
            return [Pending(row.id, Found(row.url, row.kind, row.depth)) for row in connection.execute(query)]

    def record(
        self, source: str, day: str, outcome: Outcome, *, discovered: Iterable[Found] = (), most: int = 0
    ) -> None:
        """Add an outcome together with the addresses that it led to, or nothing of both.

        An outcome that equals the last one of its address adds nothing, so that the table keeps its hash.
        """
        self.record_all(source, day, [outcome], discovered=discovered, most=most)

    def record_all(
        self,
        source: str,
        day: str,
        outcomes: Collection[Outcome],
        *,
        discovered: Iterable[Found] = (),
        most: int = 0,
    ) -> None:
        """As `record`, for outcomes of different addresses and all addresses that they led to."""
        with self._transaction() as connection:
            known = hold_day(connection, source, day)
            rows = [row_of(source, day, outcome) for outcome in outcomes]
            last = last_rows(connection, source, day, [row["url_hash"] for row in rows])
            new = [row for row in rows if not is_repeat(row, last.get(row["url_hash"]))]
            if new:
                connection.execute(sa.insert(fetches), new)
            add_discovered(connection, source, day, discovered, most - known)

    def last(
        self, source: str, day: str, url: str, *, statuses: Collection[str] | None = None
    ) -> Outcome | None:
        """The outcome that counts for an address, or the last of these statuses; None where there is none."""
        with self._transaction() as connection:
            row = last_row(connection, source, day, url, statuses)
            return None if row is None else outcome_of(row)

    def outcomes(self, source: str, day: str, *, reasons: Collection[str] | None = None) -> Iterator[Outcome]:
        """The outcome that counts for each address, sorted by URL, without links.

        Addresses without an outcome are left out, and with `reasons` those of another reason. They are read
        as they are taken, and what is written meanwhile is not among them.
        """
        latest = (
            sa.select(sa.func.max(fetches.c.id))
            .where(fetches.c.source == source, fetches.c.day == day, IS_OUTCOME)
            .group_by(fetches.c.url_hash)
        )
        query = sa.select(*WITHOUT_LINKS).where(fetches.c.id.in_(latest)).order_by(fetches.c.url)
        if reasons is not None:
            query = query.where(fetches.c.reason.in_(reasons))
        for row in self._streamed(query):
            yield outcome_of(row)

    def earlier(self, source: str, day: str, urls: Collection[str]) -> dict[str, Outcome]:
        """Of each address its newest picture or page on another day, as its last answer left it, by URL.

        Outcomes come without links; `unchanged_since` is always set, to the day that holds the content.
        """
        latest = (
            sa.select(sa.func.max(fetches.c.id))
            .where(
                fetches.c.source == source,
                fetches.c.url_hash.in_([hash_of_url(url) for url in urls]),
                IS_OUTCOME,
                fetches.c.status.in_((*HELD, READ)),
                fetches.c.day != day,
            )
            .group_by(fetches.c.url_hash)
        )
        query = sa.select(*WITHOUT_LINKS).where(fetches.c.id.in_(latest))
        with self._transaction() as connection:
            return {
                row["url"]: replace(outcome_of(row), unchanged_since=row["unchanged_since"] or row["day"])
                for row in connection.execute(query).mappings()
            }

    def is_empty(self) -> bool:
        """Whether nothing was ever discovered or fetched."""
        with self._transaction() as connection:
            return connection.execute(sa.select(fetches.c.id).limit(1)).first() is None

    def knows(self, source: str, day: str) -> bool:
        """Whether anything was ever discovered for the source on this day."""
        query = sa.select(fetches.c.id).where(fetches.c.source == source, fetches.c.day == day).limit(1)
        with self._transaction() as connection:
            return connection.execute(query).first() is not None

    def led_to(self, is_meant: Callable[[str], bool]) -> set[tuple[str, str]]:
        """(day, address that was asked) of the fetches that redirects led to an address that is meant."""
        query = sa.select(fetches.c.day, fetches.c.url, fetches.c.answered_url).where(
            fetches.c.answered_url.is_not(None)
        )
        with self._transaction() as connection:
            return {(day, url) for day, url, answered in connection.execute(query) if is_meant(answered)}

    def asked_at(self, url: str) -> set[tuple[str, str, str | None]]:
        """(source, day, image_id) of the fetches of an address; no image_id where it gave no picture."""
        columns = (fetches.c.source, fetches.c.day, fetches.c.image_id)
        query = sa.select(*columns).where(fetches.c.url_hash == hash_of_url(url))
        with self._transaction() as connection:
            return {(source, day, image_id) for source, day, image_id in connection.execute(query)}

    def addresses(self, source: str, day: str) -> set[str]:
        """Every address of a source on a day, asked already or not."""
        query = sa.select(fetches.c.url).where(
            fetches.c.source == source, fetches.c.day == day, fetches.c.kind != LISTING
        )
        with self._transaction() as connection:
            return set(connection.scalars(query))

    def on_other_days(self, source: str, day: str) -> Iterator[tuple[str, str, str | None, str | None]]:
        """(address, status, reason, hash of the bytes as they came) of all rows of other days, oldest first.

        They are read as they are taken, so that a source of a million addresses needs no memory for them.
        """
        columns = (fetches.c.url, fetches.c.status, fetches.c.reason, fetches.c.fetched_sha256)
        query = sa.select(*columns).where(fetches.c.source == source, fetches.c.day != day)
        for row in self._streamed(query.order_by(fetches.c.id)):
            yield row["url"], row["status"], row["reason"], row["fetched_sha256"]

    def _streamed(self, query: sa.Select[Any]) -> Iterator[sa.RowMapping]:
        with self._transaction() as connection:
            yield from connection.execution_options(yield_per=READ_AT_ONCE).execute(query).mappings()

    def was_reached(self, source: str, day: str) -> bool:
        """Whether any of the addresses asked was answered or refused, in whatever way."""
        query = (
            sa.select(fetches.c.id)
            .where(
                fetches.c.source == source,
                fetches.c.day == day,
                IS_OUTCOME,
                fetches.c.kind != LISTING,
                sa.or_(fetches.c.status != FAILED, fetches.c.reason.not_in(NEVER_CONNECTED)),
            )
            .limit(1)
        )
        with self._transaction() as connection:
            return connection.execute(query).first() is not None
