"""The table behind the journal of fetches, in SQLite or PostgreSQL; an older one is brought up to date."""

from typing import Any

import sqlalchemy as sa

metadata = sa.MetaData()
fetches = sa.Table(
    "fetches",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("day", sa.Text, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
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
)
by_address = sa.Index("fetches_by_address", fetches.c.source, fetches.c.day, fetches.c.url)
by_url = sa.Index("fetches_by_url", fetches.c.source, fetches.c.url, fetches.c.status, fetches.c.day)


def prepare(connection: sa.Connection) -> None:
    """Make the table, its missing columns and its indexes; two processes may do so at the same moment."""
    connection.execute(sa.schema.CreateTable(fetches, if_not_exists=True))
    _add_missing_columns(connection)
    for index in (by_address, by_url):
        connection.execute(sa.schema.CreateIndex(index, if_not_exists=True))


def _add_missing_columns(connection: sa.Connection) -> None:
    if not _missing_columns(connection):
        return
    if connection.dialect.name == "sqlite":
        # Python begins a transaction before rows are changed, and none before the table is.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql("LOCK TABLE fetches IN ACCESS EXCLUSIVE MODE")
    for column in _missing_columns(connection):
        kind = column.type.compile(connection.dialect)
        connection.exec_driver_sql(f"ALTER TABLE fetches ADD COLUMN {column.name} {kind}")


def _missing_columns(connection: sa.Connection) -> list[sa.Column[Any]]:
    present = {column["name"] for column in sa.inspect(connection).get_columns(fetches.name)}
    return [column for column in fetches.c if column.name not in present]
