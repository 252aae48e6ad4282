"""What a list of addresses says of one day: which pictures to ask for, and what it knows about each."""

import csv
import datetime
import functools
import hashlib
import io
import json
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home
from selfai_pipeline.sources.addresses import absolute_url, recorded_url
from selfai_pipeline.sources.journal import Journal
from selfai_pipeline.sources.settings import UrlListSource, is_day
from selfai_pipeline.sources.source_kinds import is_in_object_store
from selfai_pipeline.sources.stored_files import local_copy
from selfai_pipeline.sources.tabular.reading import read_rows
from selfai_pipeline.sources.tabular.rows import LONGEST_LINE, Row, is_text
from selfai_pipeline.sources.tabular.rows import MENDS as ROW_MENDS
from selfai_pipeline.storage import replace_file

MOST_LISTED = 10_000
"""Rows that are left out and stand, each with its line, in the file for whoever mends the list."""

MENDS = {
    **ROW_MENDS,
    "no_address": "Fill in the address of the picture.",
    "bad_date": "Write the day as 2026-01-31, or the moment as 2026-01-31T12:00:00Z.",
}
"""Why a row falls on no day at all, and what to do."""


@dataclass(frozen=True, slots=True)
class Listed:
    """What a list says about a picture: its licence, and the `attributes` of its row in raw_crawl."""

    licence: str | None
    attributes: str


@dataclass
class LeftOut:
    """Rows of a list that fall on no day: how many by reason with the first line, and the first of them."""

    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, int] = field(default_factory=dict)
    rows: list[tuple[int, str]] = field(default_factory=list)

    def add(self, line: int, reason: str, _: str = "") -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1
        self.first.setdefault(reason, line)
        if len(self.rows) < MOST_LISTED:
            self.rows.append((line, reason))

    def write(self, home: Home, source: str) -> None:
        """List them, with what to do, in `imports/<source>/left_out_of_list.csv`; without any there is none.

        Raises:
            StorageError: it cannot be written.
        """
        path = home.imports / source / "left_out_of_list.csv"
        if not self.rows:
            path.unlink(missing_ok=True)
            return
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["line", "reason", "mend"])
        writer.writerows([line, reason, MENDS[reason]] for line, reason in self.rows)
        replace_file(path, text.getvalue().encode())


@dataclass
class ListOfDay:
    """A list as one day sees it.

    Args:
        pictures: by the address as the journal keeps it, at most as many as a day may have.
        left_out: rows that fall on no day.
        left_over: dated rows of this day that are not taken, by reason: `duplicate` (the address stands above
            on the same day), `over_limit` (the day has as many addresses as it may have).
    """

    pictures: dict[str, Listed] = field(default_factory=dict)
    left_out: LeftOut = field(default_factory=LeftOut)
    left_over: dict[str, int] = field(default_factory=dict)


def read_list(
    source: UrlListSource, day: str, *, is_today: bool, home: Home, journal: Journal, most: int
) -> ListOfDay:
    """Read the whole list in a stream, and keep what concerns one day.

    That are the rows with its date; without a date those that this day has already, and today those that no
    other day of the source has.

    Args:
        most: addresses that a day may have; those that the journal has count first.

    Raises:
        InputError: the list cannot be used as a whole.
        SourceUnreachable: the store that the list is in does not answer.
    """
    known = journal.addresses(source.name, day)
    other_days: _Addresses | None = None
    result = ListOfDay()
    dated: set[str] = set()
    room = most - len(known)
    for url, date, row in _rows_of(source, day, home=home, left_out=result.left_out):
        if url not in known:
            if date is None:
                if not is_today or url in result.pictures:
                    continue
                if other_days is None:
                    other_days = _Addresses(journal, source.name, day)
                if url in other_days:
                    continue
            if url not in result.pictures and room <= 0:
                if date is not None:
                    result.left_over["over_limit"] = result.left_over.get("over_limit", 0) + 1
                continue
            room -= url not in result.pictures
        if date is not None and url in dated:
            result.left_over["duplicate"] = result.left_over.get("duplicate", 0) + 1
            continue
        # A row with the date of this day says more about it than one without.
        if date is not None or url not in result.pictures:
            result.pictures[url] = _listed(row, url)
        if date is not None:
            dated.add(url)
    result.left_out.write(home, source.name)
    return result


def _rows_of(
    source: UrlListSource, day: str, *, home: Home, left_out: LeftOut
) -> Iterator[tuple[str, str | None, Row]]:
    """(address as the journal keeps it, day or None, row) of each row of a day and of each without one.

    Raises:
        InputError: the list cannot be used; or it has rows, and none of them can.
    """
    good = 0
    name, rows = _opened(source, home=home, left_out=left_out)
    for row in rows:
        # Most rows are of other days: what follows costs as little as it can for them.
        url, cell, _ = row.cells
        problem = _problem_of(url)
        date = day_of(cell)
        if problem or date == "":
            left_out.add(row.line, problem or "bad_date")
            continue
        good += 1
        if date is None or date == day:
            yield _address(url), date, row
    if not good and left_out.counts:
        reason = max(left_out.counts, key=lambda one: left_out.counts[one])
        raise InputError(
            f"not one of its {sum(left_out.counts.values())} rows can be used ({reason})",
            where=f"{name}, line {left_out.first[reason]}",
            mend=MENDS[reason],
        )


def days_of_list(source: UrlListSource, home: Home) -> set[str]:
    """The days on which a list has pictures; none without a column of dates.

    Raises:
        InputError, SourceUnreachable: as `read_list`.
    """
    if source.is_live:
        return set()
    _, rows = _opened(source, home=home, left_out=LeftOut())
    return {
        day for url, cell, _ in (row.cells for row in rows) if not _problem_of(url) and (day := day_of(cell))
    }


def _opened(source: UrlListSource, *, home: Home, left_out: LeftOut) -> tuple[str, Iterator[Row]]:
    """The name of a list in messages, and its rows."""
    columns = (source.url_column, source.date_column, source.licence_column)
    if is_in_object_store(source.path):
        name, path = source.path, local_copy(source.path, home)
    else:
        path = source.file(home)
        name = str(path)
    setting = "url_column, date_column or licence_column in sources.yaml"
    return name, read_rows(path, columns, name=name, report=left_out.add, setting=setting)


def _problem_of(cell: Any) -> str:
    """Why a cell holds no address that can be kept, not even to be refused by name; empty where it does."""
    if not isinstance(cell, str) or not cell.strip():
        return "no_address"
    if is_text(cell):
        return ""
    return "null_character" if "\0" in cell else "not_utf8"


def _address(cell: str) -> str:
    """The address in a cell as the journal keeps it, without its fragment.

    One that is malformed comes back as it stands, to be refused by name.
    """
    return recorded_url(absolute_url(cell) or cell.strip())


def day_of(cell: Any) -> str | None:
    """The day that a cell of dates means; None where it is empty, an empty text where it means none."""
    if isinstance(cell, str):
        return _day_of_text(cell)
    if cell is None:
        return None
    if isinstance(cell, datetime.datetime):
        try:
            return (cell.astimezone(datetime.UTC) if cell.tzinfo else cell).date().isoformat()
        except OverflowError:
            return ""
    return cell.isoformat() if isinstance(cell, datetime.date) else ""


@functools.lru_cache(maxsize=4096)
def _day_of_text(text: str) -> str | None:
    text = text.strip()
    if not text:
        return None
    if is_day(text):
        return text
    if not is_day(text[:10]) or text[10:11] not in ("T", " "):
        return ""
    try:
        return day_of(datetime.datetime.fromisoformat(text))
    except ValueError:
        return ""


def _listed(row: Row, url: str) -> Listed:
    cell = row.cells[2]
    licence = cell.strip() if isinstance(cell, str) and is_text(cell) else ""
    return Listed(licence or None, attributes_of(name_in(url), row.extra()))


class _Addresses:
    """The addresses that a source has on other days, as sorted hashes: of each 8 bytes."""

    def __init__(self, journal: Journal, source: str, day: str) -> None:
        import numpy as np

        known = journal.on_other_days(source, day)
        hashes = np.fromiter((_hash_of(url) for url, *_ in known), dtype=np.uint64)
        hashes.sort()
        self.hashes = array("Q", hashes.tobytes())

    def __contains__(self, url: str) -> bool:
        hashed = _hash_of(url)
        place = bisect_left(self.hashes, hashed)
        return place < len(self.hashes) and self.hashes[place] == hashed


def _hash_of(url: str) -> int:
    return int.from_bytes(hashlib.blake2b(url.encode(), digest_size=8).digest())


def name_in(url: str) -> str:
    """The name of a picture by which files of ratings may call it: the last part of its address."""
    return unquote_to_bytes(url.partition("?")[0].rpartition("/")[2]).decode(errors="replace")


def attributes_of(name: str, further: Mapping[str, Any]) -> str:
    """The `attributes` of a row of raw_crawl: the picture's name, and further columns by theirs.

    A column that is called `name` itself is kept as `name_in_list`. What JSON has no form for (a moment, an
    infinite number) is kept as text; what is empty is left out, and everything where it is longer together
    than a line may be.
    """
    # Where a table had no value, pandas writes NaN, the one value that differs from itself.
    values = {key: value for key, value in further.items() if value not in (None, "") and value == value}
    if "name" in values:
        values = {"name_in_list": values.pop("name"), **values}
    try:
        text = json.dumps({"name": name, **values}, ensure_ascii=False, allow_nan=False, default=str)
        text.encode()
    except (ValueError, RecursionError):
        plain = {_plain(key): _plain(value) for key, value in values.items()}
        text = json.dumps({"name": name, **plain}, ensure_ascii=False)
    return text if len(text) <= LONGEST_LINE else json.dumps({"name": name}, ensure_ascii=False)


def _plain(value: Any) -> str:
    """The value as text that can be stored."""
    return str(value).encode(errors="replace").decode()
