"""The database that the journal of fetches lies in."""

import sqlalchemy as sa

from selfai_pipeline import databases

SETTING = "SELFAI_JOURNAL_URL"
JOURNAL = databases.Content(
    name="journal",
    file="journal.sqlite",
    setting=SETTING,
    # An outcome that is lost is asked for again. A commit that waits for the disk would hold up the crawl at
    # each picture.
    is_durable=False,
    texts="addresses",
    without_it="then each day that is materialized again is crawled anew. Stored pictures are kept.",
)


def open_database(address: str) -> sa.Engine:
    """The database at an address of `SELFAI_JOURNAL_URL`; see `databases.open_database`."""
    return databases.open_database(address, JOURNAL)


class Transaction(databases.Transaction):
    """One transaction of the journal."""

    def __init__(self, engine: sa.Engine) -> None:
        super().__init__(engine, JOURNAL)
