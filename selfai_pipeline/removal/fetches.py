"""The journal of fetches, as far as a removal reads it and takes rows out of it."""

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import sqlalchemy as sa

from selfai_pipeline.home import Home
from selfai_pipeline.sources.addresses import host_of
from selfai_pipeline.sources.journal import Journal, known_journals
from selfai_pipeline.sources.journal_database import Transaction
from selfai_pipeline.sources.journal_table import IS_DISCOVERED, days, fetches, hash_of_url
from selfai_pipeline.sources.outcomes import Links

if TYPE_CHECKING:
    from selfai_pipeline.removal.subjects import Subjects

AT_ONCE = 500


class Fetches:
    """The journals of a home: the one in use, and its own file where that was moved away from and still lies
    there. Nothing is made where there is none.
    """

    def __init__(self, home: Home) -> None:
        self.home = home

    def journals(self) -> Iterator[Journal]:
        """Each of them opened, and closed behind.

        Raises:
            InputError, StorageError: one cannot be used.
        """
        return known_journals(self.home)

    def knows_picture(self, image_id: str) -> bool:
        return self._is_any(fetches.c.image_id == image_id)

    def knows_address(self, url: str) -> bool:
        return self._is_any((fetches.c.url_hash == hash_of_url(url)) | (fetches.c.answered_url == url))

    def knows_host(self, host: str) -> bool:
        columns = (fetches.c.url, fetches.c.answered_url)
        return any(
            host_of(url) == host
            for column in columns
            for url in self._scalars(sa.select(column).where(column.is_not(None)).distinct())
        )

    def pictures_at(self, has_address: Callable[[str], bool]) -> set[str]:
        """The pictures that some addresses gave, those at the end of redirects too, whether a table has them
        or not (a crawl may have ended before its table was made)."""
        columns = (fetches.c.url, fetches.c.answered_url, fetches.c.image_id)
        query = sa.select(*columns).where(fetches.c.image_id.is_not(None)).distinct()
        found: set[str] = set()
        for journal in self.journals():
            with Transaction(journal.engine) as connection:
                for url, answered, image_id in connection.execute(query):
                    if has_address(url) or (answered and has_address(answered)):
                        found.add(image_id)
        return found

    def pictures(self) -> set[str]:
        """Every picture that is known to have been stored."""
        query = sa.select(fetches.c.image_id).where(fetches.c.image_id.is_not(None)).distinct()
        return set(self._scalars(query))

    def ending(self, source: str, name: str) -> list[str]:
        """The addresses of files of a source that a name inside its folder may mean."""
        urls = self._scalars(sa.select(fetches.c.url).distinct().where(fetches.c.source == source))
        return [url for url in urls if url.endswith(f"/{quote(name)}")]

    def belonging_to(self, subjects: "Subjects") -> "Subjects":
        """The addresses that gave the pictures, and the hashes of what they gave."""
        from selfai_pipeline.removal.subjects import Subjects

        urls: set[str] = set()
        fetched: set[str] = set()
        columns = (fetches.c.url, fetches.c.answered_url, fetches.c.fetched_sha256)
        for condition in _conditions(subjects):
            for journal in self.journals():
                with Transaction(journal.engine) as connection:
                    for url, answered, sha256 in connection.execute(sa.select(*columns).where(condition)):
                        urls.update(one for one in (url, answered) if one)
                        fetched.update([sha256] if sha256 else [])
        return Subjects(urls=frozenset(urls), fetched=frozenset(fetched))

    def erase(self, subjects: "Subjects") -> int:
        """Delete every row about the subjects, and their addresses out of what pages lead to; counts rows.

        Of an address all rows go: those of other days, and those that were refused.
        """
        erased = 0
        for journal in self.journals():
            with Transaction(journal.engine) as connection:
                if connection.dialect.name == "sqlite":
                    connection.exec_driver_sql("PRAGMA secure_delete = ON")
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                touched: set[tuple[str, str]] = set()
                for some in _batches(_rows_about(connection, subjects)):
                    chosen = fetches.c.id.in_(some)
                    where = sa.select(fetches.c.source, fetches.c.day).distinct().where(chosen)
                    touched.update((source, day) for source, day in connection.execute(where))
                    erased += connection.execute(sa.delete(fetches).where(chosen)).rowcount
                for number, links in _links_without(connection, subjects):
                    change = sa.update(fetches).where(fetches.c.id == number).values(links=links)
                    connection.execute(change)
                for source, day in touched:
                    here = sa.and_(fetches.c.source == source, fetches.c.day == day)
                    count = sa.select(sa.func.count()).where(here, IS_DISCOVERED).scalar_subquery()
                    same = sa.and_(days.c.source == source, days.c.day == day)
                    connection.execute(sa.update(days).where(same).values(discovered=count))
        return erased

    def _is_any(self, condition: sa.ColumnElement[bool]) -> bool:
        return any(True for _ in self._scalars(sa.select(fetches.c.id).where(condition).limit(1)))

    def _scalars(self, query: sa.Select[Any]) -> Iterator[Any]:
        for journal in self.journals():
            with Transaction(journal.engine) as connection:
                yield from connection.scalars(query)


def _conditions(subjects: "Subjects") -> Iterator[sa.ColumnElement[bool]]:
    """What the rows of the pictures and addresses have; hosts left out, which no index finds."""
    columns: tuple[tuple[sa.Column[Any], Collection[str]], ...] = (
        (fetches.c.image_id, subjects.image_ids),
        (fetches.c.fetched_sha256, subjects.fetched),
        (fetches.c.url_hash, [hash_of_url(url) for url in subjects.urls]),
        (fetches.c.answered_url, subjects.urls),
    )
    for column, values in columns:
        for some in _batches(sorted(values)):
            yield column.in_(some)


def _rows_about(connection: sa.Connection, subjects: "Subjects") -> list[int]:
    numbers: set[int] = set()
    for condition in _conditions(subjects):
        numbers.update(connection.scalars(sa.select(fetches.c.id).where(condition)))
    if subjects.hosts:
        for number, url, answered in connection.execute(
            sa.select(fetches.c.id, fetches.c.url, fetches.c.answered_url)
        ):
            if subjects.has_address(url) or subjects.has_address(answered):
                numbers.add(number)
    return sorted(numbers)


def _links_without(connection: sa.Connection, subjects: "Subjects") -> list[tuple[int, str]]:
    changed = []
    for number, text in connection.execute(
        sa.select(fetches.c.id, fetches.c.links).where(fetches.c.links.is_not(None))
    ):
        links = Links.from_json(text)
        kept = Links(
            [url for url in links.pictures if not subjects.has_address(url)],
            [url for url in links.pages if not subjects.has_address(url)],
        )
        if kept != links:
            changed.append((number, kept.to_json()))
    return changed


def _batches(values: "list[Any]") -> "Iterator[list[Any]]":
    for first in range(0, len(values), AT_ONCE):
        yield values[first : first + AT_ONCE]
