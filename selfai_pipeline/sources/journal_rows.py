"""Rows of the journal: made of outcomes and turned back into them, looked up, and added many at once."""

import datetime
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from selfai_pipeline.sources.journal_table import IS_OUTCOME, days, fetches, hash_of_url, stored_text
from selfai_pipeline.sources.outcomes import DISCOVERED, Found, Outcome

ROWS_AT_ONCE = 1000
OUTCOME_COLUMNS = (
    *("status", "reason", "rules", "image_id", "format", "bytes", "width", "height", "orientation"),
    *("fetched_sha256", "etag", "last_modified", "answered_url", "unchanged_since", "links"),
)


def add_discovered(
    connection: sa.Connection, source: str, day: str, addresses: Iterable[Found], room: int
) -> int:
    """Add those that are new, `room` at most, and count them; the day is held by the transaction."""
    new: dict[str, Found] = {}
    for found in addresses:
        new.setdefault(hash_of_url(found.url), found)
    rows = [
        [place, url_hash, stored_text(found.url), found.kind, found.depth]
        for place, (url_hash, found) in enumerate(new.items())
    ]
    added = 0
    for start in range(0, len(rows), ROWS_AT_ONCE):
        if added >= room:
            break
        some = rows[start : start + ROWS_AT_ONCE]
        added += connection.execute(_new_rows(connection, source, day, some, room - added)).rowcount
    if added:
        here = sa.and_(days.c.source == source, days.c.day == day)
        connection.execute(sa.update(days).where(here).values(discovered=days.c.discovered + added))
    return added


def _new_rows(
    connection: sa.Connection, source: str, day: str, rows: list[list[Any]], room: int
) -> sa.Insert:
    """Adds what the day does not have yet, in order.

    Args:
        rows: [place, hash, address, kind, depth] of each. They travel as JSON, the one form in which both
            databases take many rows at once without a parameter a value.
    """
    elements = sa.func.json_each if connection.dialect.name == "sqlite" else sa.func.json_array_elements
    given = elements(sa.literal(rows, sa.JSON)).table_valued(sa.column("value", sa.JSON), name="given")
    value = given.c.value
    url_hash = value[1].as_string()
    is_known = there_is(fetches.c.source == source, fetches.c.day == day, fetches.c.url_hash == url_hash)
    columns = {
        "source": sa.literal(source),
        "day": sa.literal(day),
        "url_hash": url_hash,
        "url": value[2].as_string(),
        "kind": value[3].as_string(),
        "depth": value[4].as_integer(),
        "status": sa.literal(DISCOVERED),
        "rules": sa.literal(""),
        "fetched_at": sa.literal(datetime.datetime.now(datetime.UTC).isoformat()),
    }
    new = sa.select(*columns.values()).where(~is_known).order_by(value[0].as_integer()).limit(room)
    insert = sa.insert(fetches).from_select(list(columns), new, include_defaults=False)
    return insert.execution_options(preserve_rowcount=True)


def there_is(*conditions: sa.ColumnElement[bool]) -> sa.Exists:
    """Whether there is such a row, looked up in an index for each row that is asked about.

    Without the offset PostgreSQL reads all rows of the day each time, as long as it takes the table to be
    small; and it counts the rows of a new journal minutes after a crawl has filled it.
    """
    return sa.exists(sa.select(sa.literal_column("1")).where(*conditions).offset(0))


def row_of(source: str, day: str, outcome: Outcome) -> dict[str, Any]:
    found = outcome.found
    moment = outcome.fetched_at or datetime.datetime.now(datetime.UTC)
    values = {
        "source": source,
        "day": day,
        "url": found.url,
        "kind": found.kind,
        "depth": found.depth,
        "fetched_at": moment.astimezone(datetime.UTC).isoformat(),
        **{name: getattr(outcome, name) for name in OUTCOME_COLUMNS},
        "url_hash": hash_of_url(found.url),
    }
    return {name: stored_text(value) if isinstance(value, str) else value for name, value in values.items()}


def outcome_of(row: sa.RowMapping) -> Outcome:
    values: dict[str, Any] = {name: row.get(name) for name in OUTCOME_COLUMNS}
    return Outcome(
        found=Found(row["url"], row["kind"], row["depth"]),
        fetched_at=datetime.datetime.fromisoformat(row["fetched_at"]),
        **values,
    )


def last_row(
    connection: sa.Connection, source: str, day: str, url: str, statuses: Collection[str] | None = None
) -> sa.RowMapping | None:
    query = (
        sa.select(fetches)
        .where(
            fetches.c.source == source,
            fetches.c.day == day,
            fetches.c.url_hash == hash_of_url(url),
            IS_OUTCOME if statuses is None else fetches.c.status.in_(statuses),
        )
        .order_by(fetches.c.id.desc())
        .limit(1)
    )
    return connection.execute(query).mappings().first()


def last_rows(
    connection: sa.Connection, source: str, day: str, url_hashes: list[str]
) -> dict[str, sa.RowMapping]:
    """The row that counts for each of the addresses that has an outcome, by the address's hash."""
    last: dict[str, sa.RowMapping] = {}
    for start in range(0, len(url_hashes), ROWS_AT_ONCE):
        latest = (
            sa.select(sa.func.max(fetches.c.id))
            .where(
                fetches.c.source == source,
                fetches.c.day == day,
                fetches.c.url_hash.in_(url_hashes[start : start + ROWS_AT_ONCE]),
                IS_OUTCOME,
            )
            .group_by(fetches.c.url_hash)
        )
        rows = connection.execute(sa.select(fetches).where(fetches.c.id.in_(latest))).mappings()
        last |= {row["url_hash"]: row for row in rows}
    return last


def is_repeat(row: Mapping[str, Any], last: sa.RowMapping | None) -> bool:
    """Whether a row says the same as the last one of its address, but for the moment."""
    return last is not None and all(last[name] == row[name] for name in row if name != "fetched_at")
