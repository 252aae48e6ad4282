"""What the annotation site keeps, in SQLite or PostgreSQL.

Of an annotator there is the pseudonym, the group and a keyed hash of the link; nothing else. Moments are
whole microseconds since 1970.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from types import TracebackType

import sqlalchemy as sa

from selfai_pipeline.databases import SQLITE, Content, Transaction, be_alone, open_database

SETTING = "SELFAI_ANNOTATIONS_URL"
ANNOTATIONS = Content(
    name="database of annotations",
    file="annotations.sqlite",
    setting=SETTING,
    is_durable=True,
    texts="names",
    without_it="then the ratings in it are lost to later runs. Tables that were made of them are kept.",
)
SECOND = 1_000_000

NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
metadata = sa.MetaData()


def _key() -> sa.Column[int]:
    return sa.Column("id", NUMBER, primary_key=True, autoincrement=True)


people = sa.Table(
    "annotation_people",
    metadata,
    _key(),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("group", sa.Text, nullable=False),
    sa.Column("link_hash", sa.Text, nullable=False, unique=True),
    sa.Column("revoked_at", NUMBER),
    # Where in the order of faces they are: what lies before it they have seen, as far as it was free then.
    sa.Column("place", NUMBER, nullable=False, server_default="0"),
)
sessions = sa.Table(
    "annotation_sessions",
    metadata,
    sa.Column("hash", sa.Text, primary_key=True),
    sa.Column("person", NUMBER, nullable=False, index=True),
    sa.Column("expires_at", NUMBER, nullable=False),
)
faces = sa.Table(
    "annotation_faces",
    metadata,
    _key(),
    sa.Column("image_id", sa.Text, nullable=False, unique=True),
    sa.Column("crop_sha256", sa.Text, nullable=False),
    sa.Column("place", NUMBER, nullable=False),
    # Different annotators who scored it, and those together with the ones to whom it is being shown.
    sa.Column("rated", sa.Integer, nullable=False, server_default="0"),
    sa.Column("taken", sa.Integer, nullable=False, server_default="0"),
    sa.Column("target", sa.Integer, nullable=False),
    sa.Column("half_width", sa.Double),
    sa.Column("gold_score", sa.Double),
    sa.Column("present", sa.Integer, nullable=False, server_default="1"),
    sa.Column("state", sa.Text, nullable=False, server_default="open"),
)
assignments = sa.Table(
    "annotation_assignments",
    metadata,
    _key(),
    sa.Column("token", sa.Text, nullable=False, unique=True),
    sa.Column("person", NUMBER, nullable=False),
    sa.Column("face", NUMBER, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("score", sa.Integer),
    sa.Column("reason", sa.Text),
    sa.Column("expires_at", NUMBER, nullable=False),
    sa.Column("answered_at", NUMBER),
)
answers = sa.Table(
    "annotation_answers",
    metadata,
    _key(),
    sa.Column("assignment", NUMBER, nullable=False, index=True),
    sa.Column("said", sa.Text, nullable=False),
    sa.Column("score", sa.Integer),
    sa.Column("reason", sa.Text),
    sa.Column("said_at", NUMBER, nullable=False),
)
decisions = sa.Table(
    "annotation_decisions",
    metadata,
    _key(),
    sa.Column("face", NUMBER, nullable=False, index=True),
    sa.Column("person", NUMBER, nullable=False),
    sa.Column("decision", sa.Text, nullable=False),
    sa.Column("decided_at", NUMBER, nullable=False),
)

# Written out: else no database sees that a partial index has what a query asks for.
CIRCULATES = sa.text("annotation_faces.present = 1 AND annotation_faces.state = 'open'")
IS_FREE = sa.text(f"{CIRCULATES.text} AND annotation_faces.taken < annotation_faces.target")
IS_UNFINISHED = sa.text(f"{CIRCULATES.text} AND annotation_faces.rated < annotation_faces.target")
IS_OPEN = sa.text("annotation_assignments.state = 'open'")
IS_FIRST_TIME = sa.text(
    "annotation_assignments.kind <> 'repeat' AND annotation_assignments.state IN ('open', 'rated', 'skipped')"
)
IS_SECOND_TIME = sa.text(
    "annotation_assignments.kind = 'repeat' AND annotation_assignments.state IN ('open', 'rated', 'skipped')"
)


def _without_table(condition: sa.TextClause) -> sa.TextClause:
    """The condition as an index of its own table has to name the columns."""
    return sa.text(condition.text.replace("annotation_faces.", "").replace("annotation_assignments.", ""))


def _index(name: str, *columns: sa.Column[int], where: sa.TextClause, unique: bool = False) -> sa.Index:
    condition = _without_table(where)
    return sa.Index(name, *columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


INDEXES = [
    _index("annotation_faces_free", faces.c.place, where=IS_FREE),
    _index("annotation_faces_unfinished", faces.c.rated, where=IS_UNFINISHED),
    _index("annotation_faces_gold", faces.c.place, where=sa.text("gold_score IS NOT NULL")),
    _index("annotation_one_at_a_time", assignments.c.person, where=IS_OPEN, unique=True),
    _index(
        "annotation_first_time", assignments.c.person, assignments.c.face, where=IS_FIRST_TIME, unique=True
    ),
    _index(
        "annotation_second_time", assignments.c.person, assignments.c.face, where=IS_SECOND_TIME, unique=True
    ),
    _index("annotation_expiring", assignments.c.expires_at, where=IS_OPEN),
    sa.Index("annotation_answered", assignments.c.person, assignments.c.answered_at),
    sa.Index("annotation_of_face", assignments.c.face),
]


def now() -> int:
    """This moment, in microseconds since 1970."""
    return time.time_ns() // 1000


class SiteDatabase:
    """The database of one annotation site; a context manager. Several processes may use it at once.

    Args:
        url: an address as SQLAlchemy reads it.

    Raises:
        InputError: the address cannot be used, or the database cannot keep every text.
        StorageError: here and in every transaction: the database cannot be opened, read or written.
    """

    def __init__(self, url: str) -> None:
        self.engine = open_database(url, ANNOTATIONS)
        self._turn = threading.Lock()
        with Transaction(self.engine, ANNOTATIONS) as connection:
            if not _is_complete(connection):
                be_alone(connection, ANNOTATIONS)
                for table in metadata.sorted_tables:
                    connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
                    for index in table.indexes:
                        connection.execute(sa.schema.CreateIndex(index, if_not_exists=True))

    def __enter__(self) -> "SiteDatabase":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.engine.dispose()

    def reading(self) -> Transaction:
        return Transaction(self.engine, ANNOTATIONS)

    @contextlib.contextmanager
    def writing(self, *, waits_for_disk: bool = True) -> Iterator[sa.Connection]:
        """A transaction that is on the disk when the block ends.

        SQLite lets one write at a time. Threads wait for their turn here: its own waiting sleeps for longer
        and longer, and whoever came last may go first.

        Args:
            waits_for_disk: False for what may be lost with the machine, though not with the process. It comes
                to the disk with the next transaction that waits, before it.
        """
        is_sqlite = self.engine.dialect.name == SQLITE
        turn = self._turn if is_sqlite else contextlib.nullcontext()
        with turn, Transaction(self.engine, ANNOTATIONS) as connection:
            if is_sqlite:
                connection.exec_driver_sql(f"PRAGMA synchronous = {'FULL' if waits_for_disk else 'NORMAL'}")
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            elif not waits_for_disk:
                connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
            yield connection


def _is_complete(connection: sa.Connection) -> bool:
    inspector = sa.inspect(connection)
    present = set(inspector.get_table_names())
    if not present >= set(metadata.tables):
        return False
    indexes = {index["name"] for table in metadata.tables for index in inspector.get_indexes(table)}
    return indexes >= {index.name for table in metadata.tables.values() for index in table.indexes}
