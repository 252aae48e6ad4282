"""What to say when the disk or a database behind `SELFAI_HOME` fails in the middle of a command."""

import errno
import sqlite3
from collections.abc import Iterator

from selfai_pipeline.home import Home

KEPT = "then run again: what was stored is kept."
FULL = f"Free some space, {KEPT}"
UNWRITABLE = f"Mend the permissions, or set SELFAI_HOME to a folder that you can write, {KEPT}"
FAILING = f"Free some space, or mend the disk or its permissions, {KEPT}"
MENDS = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    errno.EFBIG: FULL,
    errno.EROFS: UNWRITABLE,
    errno.EACCES: UNWRITABLE,
    errno.EPERM: UNWRITABLE,
    errno.EIO: FAILING,
}
DATABASE_MENDS = {
    "is full": FULL,
    "readonly": UNWRITABLE,
    "unable to open": UNWRITABLE,
    "disk I/O error": FAILING,
    "is malformed": f"Put it back from a copy, or move it out of the way, {KEPT}",
    "is not a database": f"Put it back from a copy, or move it out of the way, {KEPT}",
    "is locked": "Wait until the other command that uses it has ended, then run again.",
}
"""By what SQLite says; other errors of a database are defects."""


def storage_trouble(error: BaseException) -> str | None:
    """Where, what and the mend in one line, where a full or failing disk or database is behind an error.

    None for everything else: that is a defect, whose traceback is needed.
    """
    from sqlalchemy.exc import DatabaseError

    home = Home.from_environment().root
    for one in _chain(error):
        if isinstance(one, OSError) and one.errno in MENDS:
            return f"{one.filename or home}: {one.strerror}. {MENDS[one.errno]}"
        if isinstance(one, DatabaseError | sqlite3.DatabaseError):
            said = str(getattr(one, "orig", None) or one)
            for text, mend in DATABASE_MENDS.items():
                if text in said:
                    return f"a database under {home}: {said}. {mend}"
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it came of, each once."""
    seen: set[int] = set()
    following: list[BaseException | None] = [error]
    while following:
        one = following.pop(0)
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield one
            following += [one.__cause__, one.__context__]
