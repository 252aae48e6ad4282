"""Lists of addresses as CSV, JSON Lines or Parquet, read in a stream: a row at a time, with its line.

What is wrong with one row is said to the caller, who leaves it out; what is wrong with the whole file is an
`InputError`. No line is held that is longer than `LONGEST_LINE`, however long the file makes it.
"""

import csv
import gzip
import json
import stat
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from selfai_pipeline.errors import InputError

LONGEST_LINE = 100_000
"""Bytes of a line, and of a CSV's row over several lines."""

LONGEST_SKIPPED = 100_000_000
"""Bytes of a line that is passed over; a longer one is no line of a list."""

MOST_COLUMNS = 200
PARQUET_ROWS = 2_000
"""Rows of a Parquet file that are held at once."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a list hold what; an empty name: none does."""

    url: str
    date: str = ""
    licence: str = ""

    @property
    def named(self) -> list[str]:
        return [name for name in (self.url, self.date, self.licence) if name]


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row as it stands in its file; `extra` makes a mapping of the other columns when it is called.

    `line` counts from 1, the header too; of a Parquet file it counts rows.
    """

    line: int
    url: Any
    date: Any
    licence: Any
    extra: Callable[[], dict[str, Any]]


TextFile = IO[bytes] | gzip.GzipFile
Report = Callable[[int, str], None]
"""Takes the line and the reason of a row that is left out."""


def read_rows(path: Path, columns: Columns, *, name: str, report: Report) -> Iterator[RawRow]:
    """The rows of a list; what is left out is given to `report`.

    Args:
        path: of the file on this machine.
        columns: those that the file has to have.
        name: how the file is called in messages; its ending tells the format.

    Raises:
        InputError: the file is missing, empty, damaged, of another format, or lacks one of the columns.
    """
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise InputError("it is no file", where=name, mend="Give the path of a list in sources.yaml.")
        if facts.st_size == 0:
            raise InputError("the file is empty", where=name, mend="Fill it, or leave the source out.")
        with path.open("rb") as file:
            if name.lower().endswith(".parquet"):
                yield from _parquet_rows(file, columns, name, report)
                return
            compressed = name.lower().endswith(".gz")
            reader = _csv_rows if name.lower().removesuffix(".gz").endswith(".csv") else _json_rows
            with gzip.GzipFile(fileobj=file) if compressed else nullcontext(file) as text:
                yield from reader(text, columns, name, report)
    except FileNotFoundError:
        raise InputError("there is no such file", where=name, mend="Mend its path in sources.yaml.") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"it is no whole gzip file ({error})", where=name, mend="Put a whole one in its place."
        ) from error
    except OSError as error:
        raise InputError(
            f"it cannot be read ({error.strerror or error})", where=name, mend="Mend its permissions."
        ) from error


def _lines(file: TextFile, name: str) -> Iterator[tuple[int, bytes | None]]:
    """(number, line with its end) of each line; None in the place of one that is too long."""
    number = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(BYTE_ORDER_MARK)
        if len(line) <= LONGEST_LINE or line.endswith(b"\n"):
            yield number, line
            continue
        skipped = len(line)
        while part := file.readline(1 << 20):
            skipped += len(part)
            if skipped > LONGEST_SKIPPED:
                raise InputError(
                    f"the line does not end within {LONGEST_SKIPPED} bytes",
                    where=f"{name}, line {number}",
                    mend="Save the list as text, a row a line.",
                )
            if part.endswith(b"\n"):
                break
        yield number, None


class _CsvLines:
    """Lines for Python's CSV reader, which asks for as many as a row takes, and what was wrong with them."""

    def __init__(self, lines: Iterator[tuple[int, bytes | None]], name: str) -> None:
        self.lines, self.name = lines, name
        self.begin_row()
        self.line = 0

    def begin_row(self) -> None:
        self.first, self.size, self.problem = 0, 0, ""

    def __iter__(self) -> "_CsvLines":
        return self

    def __next__(self) -> str:
        self.line, line = next(self.lines)
        self.first = self.first or self.line
        if line is None:
            self.problem = "line_too_long"
            return "\n"
        self.size += len(line)
        if self.size > LONGEST_LINE and self.first != self.line:
            raise InputError(
                f"a quote that opens in this row is not closed within {LONGEST_LINE} bytes",
                where=f"{self.name}, line {self.first}",
                mend="Close it, or write it twice where it is meant as a character.",
            )
        if b"\0" in line:
            self.problem = "null_character"
        try:
            return line.decode()
        except UnicodeDecodeError:
            self.problem = "not_utf8"
            return line.decode(errors="replace")


def _csv_rows(file: TextFile, columns: Columns, name: str, report: Report) -> Iterator[RawRow]:
    lines = _CsvLines(_lines(file, name), name)
    reader = csv.reader(lines)
    header: list[str] = []
    url = date = licence = -1
    extras: list[tuple[int, str]] = []
    while True:
        lines.begin_row()
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error:
            cells, lines.problem = [""], lines.problem or "not_csv"
        if not cells and not lines.problem:
            continue
        if not header:
            if lines.problem:
                raise InputError(
                    f"it is no header of a CSV in UTF-8 ({lines.problem})",
                    where=f"{name}, line {lines.first}",
                    mend="Save the list as CSV in UTF-8, with the names of the columns in its first line.",
                )
            header = [cell.strip() for cell in cells]
            _check_header(header, columns, where=f"{name}, line {lines.first}")
            url, date, licence = (
                header.index(column) if column else -1
                for column in (columns.url, columns.date, columns.licence)
            )
            # A table that was saved with its index has a column without a name.
            extras = [
                (place, column)
                for place, column in enumerate(header)
                if column and place not in (url, date, licence)
            ]
        elif lines.problem:
            report(lines.first, lines.problem)
        elif len(cells) != len(header):
            report(lines.first, "cells")
        else:
            yield RawRow(
                lines.first,
                cells[url],
                cells[date] if date >= 0 else None,
                cells[licence] if licence >= 0 else None,
                partial(_cells, cells, extras),
            )


def _check_header(header: list[str], columns: Columns, *, where: str) -> None:
    missing = next((column for column in columns.named if column not in header), None)
    if len(header) > MOST_COLUMNS:
        raise InputError(
            f"it has {len(header)} columns, where {MOST_COLUMNS} are the most",
            where=where,
            mend="Leave out those that say nothing about a picture.",
        )
    if missing is not None:
        other = {";": "semicolons", "\t": "tabulators"}.get(next((c for c in ";\t" if c in header[0]), ""))
        separated = len(header) == 1 and other is not None
        raise InputError(
            f"there is no column {missing!r}; it has {', '.join(map(repr, header[:12]))}",
            where=where,
            mend=f"It is separated by {other}: save it with commas."
            if separated
            else "Name the right one with url_column, date_column or licence_column in sources.yaml.",
        )
    repeated = next((one for place, one in enumerate(header) if one and one in header[:place]), None)
    if repeated is not None:
        raise InputError(
            f"two columns are called {repeated!r}", where=where, mend="Give each column a name of its own."
        )


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def _json_rows(file: TextFile, columns: Columns, name: str, report: Report) -> Iterator[RawRow]:
    missing, first = set(columns.named), 0
    keys: list[str] = []
    for number, line in _lines(file, name):
        if line is None:
            report(number, "line_too_long")
            continue
        if not line.strip():
            continue
        try:
            text = line.decode()
        except UnicodeDecodeError:
            report(number, "not_utf8")
            continue
        try:
            values = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            report(number, "null_character" if "\0" in text else "not_json")
            continue
        if len(values) > MOST_COLUMNS:
            report(number, "too_many_columns")
            continue
        first = first or number
        keys = keys or sorted(values)
        missing -= values.keys()
        yield RawRow(
            number,
            values.get(columns.url),
            values.get(columns.date),
            values.get(columns.licence),
            partial(_without, values, columns.named),
        )
    if first and missing:
        # A row may lack a key; that all of them do is a mistake in the name.
        raise InputError(
            f"no row has {sorted(missing)[0]!r}; the first has {', '.join(map(repr, keys[:12]))}",
            where=f"{name}, line {first}",
            mend="Name the right one with url_column, date_column or licence_column in sources.yaml.",
        )


def _parquet_rows(file: IO[bytes], columns: Columns, name: str, report: Report) -> Iterator[RawRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        content = pq.ParquetFile(file, pre_buffer=False)
        schema = content.schema_arrow
        _check_header(schema.names, columns, where=name)
        # Bytes, in structures too, are pictures and the like, which say nothing in a table of text.
        wanted = [field.name for field in schema if "binary" not in str(field.type)]
        line = 0
        for batch in content.iter_batches(batch_size=PARQUET_ROWS, columns=wanted, use_threads=False):
            none = [None] * batch.num_rows
            urls, dates, licences = (
                batch.column(column).to_pylist() if column in wanted else none
                for column in (columns.url, columns.date, columns.licence)
            )
            for place in range(batch.num_rows):
                line += 1
                yield RawRow(
                    line,
                    urls[place],
                    dates[place],
                    licences[place],
                    partial(_cells_of_batch, batch, place, columns.named),
                )
    except (pa.ArrowException, OSError, ValueError, OverflowError, KeyError) as error:
        raise InputError(
            f"it is no Parquet file that can be read ({str(error).partition(chr(10))[0]})",
            where=name,
            mend="Write it again.",
        ) from error


def _cells(cells: list[str], places: list[tuple[int, str]]) -> dict[str, Any]:
    return {name: cells[place] for place, name in places}


def _cells_of_batch(batch: Any, place: int, names: list[str]) -> dict[str, Any]:
    cells = {}
    for name in batch.schema.names:
        if name not in names:
            # A moment that Python has no form for (of the year 20000, say) says nothing in a table of text.
            with suppress(ValueError, OverflowError):
                cells[name] = batch.column(name)[place].as_py()
    return cells


def _without(values: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}
