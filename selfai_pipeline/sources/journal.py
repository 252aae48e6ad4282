"""The journal of fetches: what was discovered, what came of it, and so what is still to be asked.

Append-only: an address is `discovered` once, then gets a row for every new outcome; its last row counts. It
is the crawl's frontier and seen-set at the same time, so a crawl that was killed goes on where it stopped. A
picture's outcome is committed after its bytes are in the store, never before.
"""

import datetime
import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, TypeVar

import sqlalchemy as sa

from selfai_pipeline.errors import StorageError
from selfai_pipeline.sources.journal_table import fetches, prepare

STORED = "stored"
UNCHANGED = "unchanged"
REFUSED = "refused"
FAILED = "failed"
READ = "read"
DISCOVERED = "discovered"
LISTING = "listing"

# A failure is tried again by the next materialization; everything else is final, as long as the rules that a
# refusal comes from stay the same.
FINAL = (STORED, UNCHANGED, REFUSED, READ)
HELD = (STORED, UNCHANGED)
"""Outcomes whose picture is in the store: brought in by this day, or by another one and the same still."""

REASONS_FROM_DENIALS = ("denied_host", "denied_picture")
REASONS_FROM_LIMITS = (
    *("private_address", "foreign_domain", "too_many_bytes", "too_many_pixels"),
    *("too_many_redirects", "crawl_delay"),
)
REASONS_FROM_RULES = (*REASONS_FROM_LIMITS, *REASONS_FROM_DENIALS)
NEVER_CONNECTED = ("connection_refused", "connection_failed", "host_not_found", "timeout", "tls_failed")
"""Reasons of failures in which the other side said nothing at all."""

Value = TypeVar("Value")
WITHOUT_LINKS = [column for column in fetches.c if column.name != "links"]


@dataclass(frozen=True)
class Found:
    """An address to ask: `kind` is page, picture or file; `depth` counts links from a start page.

    The kind listing is of a list or folder itself, which was read on that day, with anything new or without.
    """

    url: str
    kind: str
    depth: int = 0


@dataclass(frozen=True)
class Pending:
    """A discovered address without a final outcome; `row` is its place in the journal."""

    row: int
    found: Found


@dataclass(frozen=True)
class Outcome:
    """What came of asking for an address.

    Args:
        rules: fingerprint of what it was judged by: the limits, a dot, and the deny lists.
        image_id: SHA-256 of the picture without metadata; of a denied one too, though it is not stored.
        etag: validator of the answer, as `last_modified` is; sent back to ask for news only.
        answered_url: the address that answered, where redirects led to another one.
        unchanged_since: the day whose outcome holds the picture, or the links, that this one found unchanged.
        links: what a page leads to, as `Links` writes it.
    """

    found: Found
    status: str
    rules: str
    reason: str | None = None
    fetched_at: datetime.datetime | None = None
    image_id: str | None = None
    format: str | None = None
    bytes: int | None = None
    width: int | None = None
    height: int | None = None
    orientation: int | None = None
    fetched_sha256: str | None = None
    etag: str | None = None
    last_modified: str | None = None
    answered_url: str | None = None
    unchanged_since: str | None = None
    links: str | None = None


@dataclass(frozen=True)
class Links:
    """All addresses that a page names, whether or not a crawl goes so deep."""

    pictures: list[str]
    pages: list[str]

    def to_json(self) -> str:
        return json.dumps([self.pictures, self.pages])

    @classmethod
    def from_json(cls, text: str) -> "Links":
        return cls(*json.loads(text))


class Journal:
    """The journal of one `SELFAI_HOME`, in SQLite or PostgreSQL; a context manager.

    Args:
        url: an address as SQLAlchemy reads it.

    Raises:
        StorageError: here and in every method: the database cannot be opened, read or written.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = sa.create_engine(url, connect_args={"timeout": 60} if url.startswith("sqlite") else {})
        if self.engine.dialect.name == "sqlite":
            sa.event.listen(self.engine, "connect", _use_write_ahead_log)
        with self._transaction() as connection:
            prepare(connection)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.engine.dispose()

    def _transaction(self) -> "_Transaction":
        return _Transaction(self.engine, self.url)

    def discover(self, source: str, day: str, addresses: Iterable[Found], *, most: int) -> int:
        """Add addresses that are new, as far as `most` in all allows; returns how many were added."""
        with self._transaction() as connection:
            return _discover(connection, source, day, addresses, most)

    def pending(
        self, source: str, day: str, *, rules: str, after: int = 0, limit: int = 500
    ) -> list[Pending]:
        """Addresses without a final outcome in the order of their discovery, from behind row `after` on."""
        limits, _, denials = rules.partition(".")
        outcome = fetches.alias()
        settled = sa.exists().where(
            outcome.c.source == source,
            outcome.c.day == day,
            outcome.c.url == fetches.c.url,
            outcome.c.status.in_(FINAL),
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
                fetches.c.status == DISCOVERED,
                fetches.c.id > after,
                ~settled,
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
            last = _last_of_each(connection, source, day, [outcome.found.url for outcome in outcomes])
            new = [outcome for outcome in outcomes if not _is_repeat(outcome, last.get(outcome.found.url))]
            if new:
                connection.execute(sa.insert(fetches), [_row(source, day, outcome) for outcome in new])
            _discover(connection, source, day, discovered, most)

    def last(
        self, source: str, day: str, url: str, *, statuses: Collection[str] | None = None
    ) -> Outcome | None:
        """The outcome that counts for an address, or the last of these statuses; None where there is none."""
        with self._transaction() as connection:
            return _last(connection, source, day, url, statuses)

    def outcomes(self, source: str, day: str, *, reasons: Collection[str] | None = None) -> list[Outcome]:
        """The outcome that counts for each address, sorted by URL, without links.

        Addresses without an outcome are left out, and with `reasons` those of another reason.
        """
        latest = (
            sa.select(sa.func.max(fetches.c.id))
            .where(fetches.c.source == source, fetches.c.day == day, fetches.c.status != DISCOVERED)
            .group_by(fetches.c.url)
        )
        query = sa.select(*WITHOUT_LINKS).where(fetches.c.id.in_(latest))
        if reasons is not None:
            query = query.where(fetches.c.reason.in_(reasons))
        with self._transaction() as connection:
            rows = connection.execute(query)
            return sorted((_outcome(row) for row in rows), key=lambda outcome: outcome.found.url)

    def earlier(self, source: str, day: str, urls: Collection[str]) -> dict[str, Outcome]:
        """Of each address its newest picture or page on another day, as its last answer left it, by URL.

        Outcomes come without links; `unchanged_since` is always set, to the day that holds the content.
        """
        latest = (
            sa.select(sa.func.max(fetches.c.id))
            .where(
                fetches.c.source == source,
                fetches.c.url.in_(list(urls)),
                fetches.c.status.in_((*HELD, READ)),
                fetches.c.day != day,
            )
            .group_by(fetches.c.url)
        )
        query = sa.select(*WITHOUT_LINKS).where(fetches.c.id.in_(latest))
        with self._transaction() as connection:
            return {
                row.url: replace(_outcome(row), unchanged_since=row.unchanged_since or row.day)
                for row in connection.execute(query)
            }

    def knows(self, source: str, day: str) -> bool:
        """Whether anything was ever discovered for the source on this day."""
        query = sa.select(fetches.c.id).where(fetches.c.source == source, fetches.c.day == day).limit(1)
        with self._transaction() as connection:
            return connection.execute(query).first() is not None

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
        with self._transaction() as connection:
            streamed = connection.execution_options(yield_per=10_000).execute(query.order_by(fetches.c.id))
            for row in streamed:
                yield row.url, row.status, row.reason, row.fetched_sha256

    def was_reached(self, source: str, day: str) -> bool:
        """Whether any of the addresses asked was answered or refused, in whatever way."""
        query = (
            sa.select(fetches.c.id)
            .where(
                fetches.c.source == source,
                fetches.c.day == day,
                fetches.c.status != DISCOVERED,
                fetches.c.kind != LISTING,
                sa.or_(fetches.c.status != FAILED, fetches.c.reason.not_in(NEVER_CONNECTED)),
            )
            .limit(1)
        )
        with self._transaction() as connection:
            return connection.execute(query).first() is not None


class _Transaction:
    """One transaction; a database's trouble becomes a `StorageError` that says what to do."""

    def __init__(self, engine: sa.Engine, url: str) -> None:
        self.engine = engine
        self.url = url

    def __enter__(self) -> sa.Connection:
        try:
            self.context = self.engine.begin()
            return self.context.__enter__()
        except sa.exc.DatabaseError as error:
            self._raise_trouble(error)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.context.__exit__(kind, error, trace)
        except sa.exc.DatabaseError as failure:
            self._raise_trouble(failure)
            raise
        if isinstance(error, sa.exc.DatabaseError):
            self._raise_trouble(error)

    def _raise_trouble(self, error: sa.exc.DatabaseError) -> None:
        """Raise StorageError for a trouble of the database, nothing for a statement that it refuses."""
        place = sa.make_url(self.url).render_as_string(hide_password=True)
        if isinstance(error, sa.exc.OperationalError):
            raise StorageError(
                f"the journal {place} cannot be used ({error.orig}). Free some space, mend the permissions, "
                "or start its database, then run again: what was stored before is kept."
            ) from error
        # SQLite raises the bare class for a damaged file, PostgreSQL an internal error.
        if type(error) is sa.exc.DatabaseError or isinstance(error, sa.exc.InternalError):
            raise StorageError(
                f"the journal {place} is damaged ({error.orig}). Put a copy of it back, or move it away: "
                "then each day that is materialized again is crawled anew. Stored pictures are kept."
            ) from error


def _use_write_ahead_log(connection: Any, _: Any) -> None:
    # With the log a commit survives the end of the process without a sync to the disk a row.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _discover(connection: sa.Connection, source: str, day: str, addresses: Iterable[Found], most: int) -> int:
    unique: dict[str, Found] = {}
    for found in addresses:
        unique.setdefault(found.url, found)
    ordered = list(unique.values())
    if not ordered:
        return 0
    here = (fetches.c.source == source, fetches.c.day == day)
    known: set[str] = set()
    for part in _parts([found.url for found in ordered], 500):
        known.update(connection.scalars(sa.select(fetches.c.url).where(*here, fetches.c.url.in_(part))))
    count = connection.scalar(
        sa.select(sa.func.count()).select_from(fetches).where(*here, fetches.c.status == DISCOVERED)
    )
    new = [found for found in ordered if found.url not in known][: max(0, most - (count or 0))]
    for some in _parts(new, 500):
        connection.execute(
            sa.insert(fetches), [_row(source, day, Outcome(found, DISCOVERED, rules="")) for found in some]
        )
    return len(new)


def _parts(values: list[Value], size: int) -> Iterator[list[Value]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _row(source: str, day: str, outcome: Outcome) -> dict[str, Any]:
    moment = outcome.fetched_at or datetime.datetime.now(datetime.UTC)
    values = {name: getattr(outcome, name) for name in OUTCOME_COLUMNS}
    found = outcome.found
    return {
        "source": source,
        "day": day,
        "url": found.url,
        "kind": found.kind,
        "depth": found.depth,
        "fetched_at": moment.astimezone(datetime.UTC).isoformat(),
        **values,
    }


OUTCOME_COLUMNS = (
    *("status", "reason", "rules", "image_id", "format", "bytes", "width", "height", "orientation"),
    *("fetched_sha256", "etag", "last_modified", "answered_url", "unchanged_since", "links"),
)


def _outcome(row: Any) -> Outcome:
    values: dict[str, Any] = {name: getattr(row, name, None) for name in OUTCOME_COLUMNS}
    return Outcome(
        found=Found(row.url, row.kind, row.depth),
        fetched_at=datetime.datetime.fromisoformat(row.fetched_at),
        **values,
    )


def _is_repeat(outcome: Outcome, last: Outcome | None) -> bool:
    return last is not None and replace(outcome, fetched_at=last.fetched_at) == last


def _last_of_each(connection: sa.Connection, source: str, day: str, urls: list[str]) -> dict[str, Outcome]:
    """The outcome that counts for each of the addresses that has one, by URL."""
    last = {}
    for part in _parts(urls, 500):
        latest = (
            sa.select(sa.func.max(fetches.c.id))
            .where(
                fetches.c.source == source,
                fetches.c.day == day,
                fetches.c.url.in_(part),
                fetches.c.status != DISCOVERED,
            )
            .group_by(fetches.c.url)
        )
        for row in connection.execute(sa.select(fetches).where(fetches.c.id.in_(latest))):
            last[row.url] = _outcome(row)
    return last


def _last(
    connection: sa.Connection, source: str, day: str, url: str, statuses: Collection[str] | None = None
) -> Outcome | None:
    query = (
        sa.select(fetches)
        .where(
            fetches.c.source == source,
            fetches.c.day == day,
            fetches.c.url == url,
            fetches.c.status != DISCOVERED if statuses is None else fetches.c.status.in_(statuses),
        )
        .order_by(fetches.c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return None if row is None else _outcome(row)
