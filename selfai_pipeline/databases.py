"""Databases in SQLite or PostgreSQL: opened by their address, and what to say when they fail."""

from dataclasses import dataclass
from types import TracebackType
from typing import Any

import sqlalchemy as sa

from selfai_pipeline.errors import InputError, StorageError

SQLITE, POSTGRESQL = "sqlite", "postgresql"
DATABASES = {
    "sqlite": SQLITE,
    "sqlite+pysqlite": SQLITE,
    "postgresql": POSTGRESQL,
    "postgresql+psycopg": POSTGRESQL,
    "postgres": POSTGRESQL,
}
"""By what an address begins with."""

LONGEST_WAIT_S = 60
OF_CONNECTIONS = {
    "application_name": "selfai",
    "client_encoding": "utf8",
    "connect_timeout": "20",
    # Else a command would wait for hours on a server whose machine is gone.
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "tcp_user_timeout": str(1000 * LONGEST_WAIT_S),
}
"""Parameters of a connection to PostgreSQL, where the address has no others."""

SECONDS_BEFORE_RECONNECTING = 300
"""A connection that lay idle for longer, during a long crawl by another process, may be dead by now."""

NOT_PERMITTED, READ_ONLY, NO_SCHEMA = "42501", "25006", "3F000"
OF_THE_SERVER = (NOT_PERMITTED, READ_ONLY, NO_SCHEMA)
LOCK_OF_TABLES = 7_363_166_105
"""Any number that nothing else in the database is likely to lock by."""


@dataclass(frozen=True)
class Content:
    """What a database is there for, and how its messages speak of it.

    Args:
        name: such as `journal`.
        file: an example of a SQLite file.
        setting: the environment variable that holds the address.
        is_durable: whether a commit waits for the disk. Else half a second of commits may be lost with the
            machine, though not with the process.
        texts: what may hold any letter.
        without_it: what follows where a damaged one is moved away, as a clause, and what is kept.
    """

    name: str
    file: str
    setting: str
    is_durable: bool
    texts: str
    without_it: str


def open_database(address: str, content: Content) -> sa.Engine:
    """The database at an address of the setting; nothing is connected yet.

    Raises:
        InputError: the address is malformed or of another database, or the driver is not installed.
    """
    url = _parsed(address, content)
    if DATABASES[url.drivername] == SQLITE:
        engine = sa.create_engine(url, connect_args={"timeout": LONGEST_WAIT_S}, hide_parameters=True)
        synchronous = "FULL" if content.is_durable else "NORMAL"

        # With the log a commit survives the end of the process without a sync to the disk a row.
        def use_write_ahead_log(connection: Any, _: Any) -> None:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA synchronous={synchronous}")

        sa.event.listen(engine, "connect", use_write_ahead_log)
        return engine
    further = {name: value for name, value in OF_CONNECTIONS.items() if name not in url.query}
    url = url.set(drivername="postgresql+psycopg").update_query_dict(further)
    try:
        engine = sa.create_engine(
            url,
            isolation_level="READ COMMITTED",
            pool_recycle=SECONDS_BEFORE_RECONNECTING,
            hide_parameters=True,
        )
    except ImportError as error:
        raise InputError(
            f"the driver of PostgreSQL cannot be imported ({error})",
            where=content.setting,
            mend="Install it with pip install --constraint constraints.txt --editable '.[postgres]'.",
        ) from error
    waits = "on" if content.is_durable else "off"

    def set_up_session(connection: Any, _: Any) -> None:
        connection.execute(
            f"SELECT set_config('synchronous_commit', '{waits}', false), "
            f"set_config('lock_timeout', '{LONGEST_WAIT_S}s', false)"
        )
        connection.commit()

    sa.event.listen(engine, "connect", set_up_session)
    return engine


def _parsed(address: str, content: Content) -> sa.URL:
    """The address in its parts. No message repeats it, because a password may stand anywhere in it."""
    mend = (
        "Write it as postgresql://user:password@host:5432/database (in user and password @ as %40, : as %3A, "
        f"/ as %2F, % as %25), or sqlite:////folder/{content.file}."
    )
    try:
        url = sa.make_url(address)
    except (sa.exc.ArgumentError, ValueError):
        raise InputError("it is no address of a database", where=content.setting, mend=mend) from None
    if url.drivername not in DATABASES:
        raise InputError(
            f"no {content.name} is kept in {url.drivername!r}, only in SQLite and PostgreSQL",
            where=content.setting,
            mend=mend,
        )
    if "@" in (url.host or ""):
        raise InputError("it has more than one @", where=content.setting, mend=mend)
    if DATABASES[url.drivername] == SQLITE and url.database in (None, "", ":memory:"):
        what = f"it names no file, and a {content.name} has to stay"
        raise InputError(what, where=content.setting, mend=mend)
    return url


def place_of(engine: sa.Engine) -> str:
    """Where the database is, for messages: without password, and without parameters, which may hold one."""
    url = engine.url
    name = DATABASES[url.drivername]
    return sa.URL.create(
        name, username=url.username, host=url.host, port=url.port, database=url.database
    ).render_as_string()


def be_alone(connection: sa.Connection, content: Content) -> None:
    """Wait for others that change the tables; they wait until the transaction ends.

    Raises:
        InputError: the database cannot keep every text.
    """
    if connection.dialect.name == SQLITE:
        # Python begins a transaction before rows are changed, and none before a table is.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        return
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
    if encoding != "UTF8":
        raise InputError(
            f"its database keeps text as {encoding}, and {content.texts} may hold any letter",
            where=content.setting,
            mend="Make one with CREATE DATABASE selfai ENCODING 'UTF8' TEMPLATE template0, and name it.",
        )
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK_OF_TABLES)))


class Transaction:
    """One transaction; a database's trouble becomes a `StorageError` that says what to do."""

    def __init__(self, engine: sa.Engine, content: Content) -> None:
        self.engine = engine
        self.content = content

    def __enter__(self) -> sa.Connection:
        try:
            self.context = self.engine.begin()
            return self.context.__enter__()
        except sa.exc.DBAPIError as error:
            self._raise_trouble(error)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.context.__exit__(kind, error, trace)
        except sa.exc.DBAPIError as failure:
            self._raise_trouble(failure)
            raise
        if isinstance(error, sa.exc.DBAPIError):
            self._raise_trouble(error)

    def _raise_trouble(self, error: sa.exc.DBAPIError) -> None:
        """Raise StorageError for a trouble of the database, nothing for a statement that it refuses.

        Raises:
            InputError: the address has a parameter that PostgreSQL does not know.
        """
        driver: Any = self.engine.dialect.dbapi
        if not isinstance(error.orig, driver.Error):
            # While a journal is moved, the other one's transaction is open too.
            return
        if self.engine.dialect.name == SQLITE:
            # SQLite raises the bare class for a damaged file.
            is_damaged = type(error) is sa.exc.DatabaseError
            is_unusable = isinstance(error, sa.exc.OperationalError)
            mend = "Free some space, or mend the permissions"
            if "locked" in str(error.orig):
                mend = "Let the other process that writes to it end"
        else:
            code = getattr(error.orig, "sqlstate", None)
            is_damaged = code is not None and code.startswith("XX")
            is_unusable = isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError)
            is_unusable = is_unusable or code in OF_THE_SERVER
            mend = f"Look after its server, or mend {self.content.setting}"
            if code is None and isinstance(error, sa.exc.ProgrammingError):
                raise InputError(
                    f"PostgreSQL cannot use it ({_first_line(error)})",
                    where=self.content.setting,
                    mend="Mend what stands behind its question mark.",
                ) from error
        what = f"the {self.content.name} {place_of(self.engine)}"
        if is_damaged:
            raise StorageError(
                f"{what} is damaged ({_first_line(error)}). Put a copy of it back, or move it away: "
                f"{self.content.without_it}"
            ) from error
        if is_unusable:
            raise StorageError(
                f"{what} cannot be used ({_first_line(error)}). "
                f"{mend}, then run again: what was stored before is kept."
            ) from error


def _first_line(error: sa.exc.DBAPIError) -> str:
    """What the database said; the lines behind it may hold rows."""
    return next(iter(str(error.orig).strip().splitlines()), type(error.orig).__name__)
