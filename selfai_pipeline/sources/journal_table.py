"""The tables behind the journal of fetches, in SQLite or PostgreSQL; older ones are brought up to date."""

import hashlib
import re
from typing import Any

import sqlalchemy as sa

from selfai_pipeline import databases
from selfai_pipeline.sources.journal_database import JOURNAL

# Sorted by code point as Python sorts, whatever the language of the database is.
SORTED_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

metadata = sa.MetaData()
fetches = sa.Table(
    "fetches",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("day", sa.Text, nullable=False),
    sa.Column("url", SORTED_TEXT, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("depth", sa.Integer, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("rules", sa.Text, nullable=False),
    sa.Column("fetched_at", sa.Text, nullable=False),
    sa.Column("image_id", sa.Text),
    sa.Column("format", sa.Text),
    sa.Column("bytes", sa.BigInteger),
    sa.Column("width", sa.BigInteger),
    sa.Column("height", sa.BigInteger),
    sa.Column("orientation", sa.Integer),
    sa.Column("fetched_sha256", sa.Text),
    sa.Column("etag", sa.Text),
    sa.Column("last_modified", sa.Text),
    sa.Column("answered_url", sa.Text),
    sa.Column("unchanged_since", sa.Text),
    sa.Column("links", sa.Text),
    # Indexes hold this in place of the address: PostgreSQL takes no more than 2,700 bytes into one, and the
    # address of a file in deep folders is longer.
    sa.Column("url_hash", SORTED_TEXT, nullable=False),
)
days = sa.Table(
    "fetch_days",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("day", sa.Text, primary_key=True),
    sa.Column("discovered", sa.BigInteger, nullable=False),
)

# Written out, not passed as parameters: else no database sees that a partial index has what a query asks for.
IS_DISCOVERED = fetches.c.status == sa.literal_column("'discovered'")
IS_OUTCOME = fetches.c.status != sa.literal_column("'discovered'")

INDEXES = [
    sa.Index("fetches_by_url_hash", fetches.c.source, fetches.c.day, fetches.c.url_hash),
    *(
        sa.Index(name, *columns, sqlite_where=rows, postgresql_where=rows)
        for name, columns, rows in (
            ("fetches_to_ask", (fetches.c.source, fetches.c.day, fetches.c.id), IS_DISCOVERED),
            ("fetches_of_all_days", (fetches.c.source, fetches.c.url_hash, fetches.c.day), IS_OUTCOME),
        )
    ),
]
OLDER_INDEXES = ("fetches_by_address", "fetches_by_url")
UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def stored_text(text: str) -> str:
    """The text as a database can keep it: PostgreSQL takes no null characters, nothing half a character."""
    return text if text.isascii() and "\0" not in text else UNSTORABLE.sub("\ufffd", text)


def hash_of_url(url: str) -> str:
    """What an address is looked up by."""
    return hashlib.sha256(stored_text(url).encode()).hexdigest()[:32]


def hold_day(connection: sa.Connection, source: str, day: str) -> int:
    """Make every other writer of this source and day wait until the transaction ends.

    So nobody adds an address twice or past a limit, and the rows of a day become visible in the order of
    their ids: whoever reads on behind the last id that was seen misses none. A transaction may hold one day
    only, so that no two can wait for each other.

    Returns:
        How many addresses the day has.
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    count = sa.select(days.c.discovered).where(days.c.source == source, days.c.day == day).with_for_update()
    known: int | None = connection.scalar(count)
    if known is None:
        connection.execute(NEW_DAY, {"source": source, "day": day})
        known = connection.scalar(count)
    assert known is not None
    return known


NEW_DAY = sa.text(
    """
    INSERT INTO fetch_days (source, day, discovered)
    SELECT CAST(:source AS TEXT), CAST(:day AS TEXT), count(*) FROM fetches
    WHERE source = CAST(:source AS TEXT) AND day = CAST(:day AS TEXT) AND status = 'discovered'
    ON CONFLICT DO NOTHING
    """
)


def prepare(connection: sa.Connection) -> None:
    """Make the tables, missing columns and the indexes; two processes may do so at the same moment.

    Raises:
        InputError: the database cannot keep every text.
    """
    if not _is_complete(connection):
        be_alone(connection)
        for table in (fetches, days):
            connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
        _add_missing_columns(connection)
        for name in OLDER_INDEXES:
            connection.exec_driver_sql(f"DROP INDEX IF EXISTS {name}")
        for index in INDEXES:
            connection.execute(sa.schema.CreateIndex(index, if_not_exists=True))


def be_alone(connection: sa.Connection) -> None:
    """Wait for others that change the tables or move a journal; see `databases.be_alone`."""
    databases.be_alone(connection, JOURNAL)


def _is_complete(connection: sa.Connection) -> bool:
    inspector = sa.inspect(connection)
    if not all(inspector.has_table(table.name) for table in (fetches, days)):
        return False
    present = {index["name"] for index in inspector.get_indexes(fetches.name)}
    return present >= {index.name for index in INDEXES} and not _missing_columns(connection)


def _add_missing_columns(connection: sa.Connection) -> None:
    missing = _missing_columns(connection)
    for column in missing:
        kind = column.type.compile(connection.dialect)
        connection.exec_driver_sql(f"ALTER TABLE fetches ADD COLUMN {column.name} {kind}")
    if fetches.c.url_hash in missing:
        _hash_old_rows(connection)


def _missing_columns(connection: sa.Connection) -> list[sa.Column[Any]]:
    present = {column["name"] for column in sa.inspect(connection).get_columns(fetches.name)}
    return [column for column in fetches.c if column.name not in present]


def _hash_old_rows(connection: sa.Connection) -> None:
    hashed: sa.ColumnElement[str]
    if connection.dialect.name == "sqlite":
        driver: Any = connection.connection.driver_connection
        driver.create_function("hash_of_url", 1, hash_of_url, deterministic=True)
        hashed = sa.func.hash_of_url(fetches.c.url)
    else:
        whole = sa.func.sha256(sa.func.convert_to(fetches.c.url, "UTF8"))
        hashed = sa.func.left(sa.func.encode(whole, "hex"), 32)
    connection.execute(sa.update(fetches).values(url_hash=hashed))
