"""SQLite files without a trace in free pages, logs or texts."""

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from selfai_pipeline.errors import StorageError
from selfai_pipeline.home import Home
from selfai_pipeline.removal.texts import Needles

LONGEST_WAIT_S = 60.0
MOST_AT_ONCE = 1 << 20
"""Bytes of cells that are looked at together."""

HEADER = b"SQLite format 3\0"


def databases_in(*places: Path) -> Iterator[Path]:
    """The SQLite files among files and below folders."""
    for place in places:
        paths = sorted(place.rglob("*")) if place.is_dir() else [place]
        for path in paths:
            if path.is_file() and not path.is_symlink():
                with path.open("rb") as file:
                    if file.read(len(HEADER)) == HEADER:
                        yield path


def own_databases(home: Home) -> Iterator[Path]:
    """All of a home: the journal, the annotation site's, Dagster's and MLflow's."""
    yield from databases_in(home.own_journal, home.own_annotations, home.dagster, home.mlflow)


def scrub(path: Path, needles: Needles) -> int:
    """Take what was removed out of every text of a database, packed ones too; counts the cells that had any.

    Raises:
        StorageError: the database is damaged, or another process holds it.
    """
    changed = 0
    with _opened(path) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        for table, column in _columns(connection):
            changed += _scrub_column(connection, table, column, needles)
        connection.commit()
    return changed


def cells(path: Path) -> Iterator[bytes]:
    """The texts and blobs of a database, many at once; packed ones unpacked.

    Its bytes would not do: a packed name is not among them, and a long cell is cut at the ends of pages.

    Raises:
        sqlite3.Error: the database is damaged, or another process holds it.
    """
    piece: list[bytes] = []
    size = 0
    with closing(sqlite3.connect(path, timeout=LONGEST_WAIT_S)) as connection:
        columns = list(_columns(connection))
        connection.text_factory = bytes
        for table, column in columns:
            name, where = _quoted(table), _quoted(column)
            query = f"SELECT {where} FROM {name} WHERE typeof({where}) IN ('text', 'blob')"  # noqa: S608
            for (cell,) in connection.execute(query):
                content = _unpacked(cell)
                piece.append(cell if content is None else content)
                size += len(piece[-1])
                if size > MOST_AT_ONCE:
                    yield b"\n".join(piece)
                    piece, size = [], 0
    yield b"\n".join(piece)


def _columns(connection: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Every column of every table, by their names."""
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    for (table,) in connection.execute(query).fetchall():
        for row in connection.execute(f"PRAGMA table_info({_quoted(table)})").fetchall():
            yield table, row[1]


def _scrub_column(connection: sqlite3.Connection, table: str, column: str, needles: Needles) -> int:
    name, where = _quoted(table), _quoted(column)
    # By value, so that tables without row numbers are no special case.
    query = f"SELECT DISTINCT {where} FROM {name} WHERE typeof({where}) IN ('text', 'blob')"  # noqa: S608
    changes = []
    for (cell,) in connection.execute(query):
        scrubbed = needles.scrubbed(cell) if isinstance(cell, str) else _scrubbed_packed(cell, needles)
        if scrubbed != cell:
            changes.append((scrubbed, cell))
    statement = f"UPDATE {name} SET {where} = ? WHERE {where} = ?"  # noqa: S608
    connection.executemany(statement, changes)
    return len(changes)


def _scrubbed_packed(cell: bytes, needles: Needles) -> bytes:
    """A packed cell without what was removed: Dagster keeps the defaults of a job's settings in one.

    It keeps its key, which is a hash of what it held: runs refer to it, and where a running service still
    knows the former content, that does not come back beside it.
    """
    content = _unpacked(cell)
    if content is None:
        return cell
    text = content.decode(errors="surrogateescape")
    scrubbed = needles.scrubbed(text)
    return cell if scrubbed == text else zlib.compress(scrubbed.encode(errors="surrogateescape"))


def _unpacked(cell: bytes) -> bytes | None:
    try:
        return zlib.decompress(cell)
    except zlib.error:
        return None


def clean(path: Path) -> None:
    """Leave nothing of deleted rows in a database: no free page, no write-ahead log.

    Raises:
        StorageError: as `scrub`.
    """
    with _opened(path) as connection:
        connection.isolation_level = None
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("VACUUM")
        busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise _in_use(path, "others still read from its log")


class _opened:  # noqa: N801
    """A connection that is closed; SQLite's trouble becomes a `StorageError` that says what to do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> sqlite3.Connection:
        self.context = closing(sqlite3.connect(self.path, timeout=LONGEST_WAIT_S))
        return self.context.__enter__()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.context.__exit__(None, None, None)
        if isinstance(error, sqlite3.Error):
            raise _in_use(self.path, str(error)) from error


def _in_use(path: Path, why: str) -> StorageError:
    return StorageError(
        f"{path}: it cannot be cleaned ({why}). Stop `selfai up` and `selfai annotate`, or free some space, "
        "then finish with `selfai remove --resume`."
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
