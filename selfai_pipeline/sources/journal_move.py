"""Takes the journal of a home over into the database that `SELFAI_JOURNAL_URL` names."""

import sqlalchemy as sa

from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home
from selfai_pipeline.sources.journal import Journal
from selfai_pipeline.sources.journal_database import SETTING, Transaction
from selfai_pipeline.sources.journal_table import be_alone, fetches, stored_text

ROWS_AT_ONCE = 5000


def move_journal(home: Home) -> int:
    """Copy every row in its order, or none; returns how many. The home's own file stays as it is.

    Nothing else may work on either journal meanwhile.

    Raises:
        InputError: no other journal is named, the home has none of its own, or the other one is not empty.
        StorageError: one of the two cannot be read or written.
    """
    own = f"sqlite:///{home.own_journal}"
    if home.journal_url == own:
        raise InputError(
            "it names no journal to move to",
            where=SETTING,
            mend="Set it to postgresql://user:password@host:5432/database.",
        )
    if not home.own_journal.exists():
        raise InputError(
            "there is no journal to move",
            where=str(home.own_journal),
            mend="Check SELFAI_HOME; without a journal in it nothing has to be moved.",
        )
    with Journal(own) as before, Journal(home.journal_url) as after:
        return _copy(before, after)


def _copy(before: Journal, after: Journal) -> int:
    names = [column.name for column in fetches.c if column.name != "id"]
    every = sa.select(*(fetches.c[name] for name in names)).order_by(fetches.c.id)
    moved = 0
    with Transaction(before.engine) as source, Transaction(after.engine) as target:
        be_alone(target)
        if target.execute(sa.select(fetches.c.id).limit(1)).first() is not None:
            raise InputError(
                f"the journal {after.place} is not empty",
                where=SETTING,
                mend="Name a database that has no journal yet.",
            )
        streamed = source.execution_options(yield_per=ROWS_AT_ONCE).execute(every)
        for rows in streamed.partitions():
            # SQLite may hold text that PostgreSQL does not take.
            target.execute(
                sa.insert(fetches),
                [
                    {
                        name: stored_text(value) if isinstance(value, str) else value
                        for name, value in zip(names, row, strict=True)
                    }
                    for row in rows
                ],
            )
            moved += len(rows)
    return moved
