"""Rows of a CSV: commas, UTF-8, a header."""

import csv
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from selfai_pipeline.errors import InputError
from selfai_pipeline.sources.tabular.lines import TextFile, numbered_lines
from selfai_pipeline.sources.tabular.rows import LONGEST_LINE, Report, Row, check_header

CLAUSES = {
    "line_too_long": f"it is longer than {LONGEST_LINE} bytes",
    "null_character": "it holds a null character",
    "not_utf8": "it is not UTF-8",
    "not_csv": "it is no row of a CSV",
}


class _Lines:
    """Lines for Python's CSV reader, which asks for as many as a row takes, and what was wrong with them."""

    def __init__(self, lines: Iterator[tuple[int, bytes | None]], name: str) -> None:
        self.lines, self.name = lines, name
        self.begin_row()
        self.line, self.ended = 0, False

    def begin_row(self) -> None:
        self.first, self.size, self.problem = 0, 0, ""

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        try:
            self.line, line = next(self.lines)
        except StopIteration:
            self.ended = True
            raise
        self.first = self.first or self.line
        if line is None:
            self.problem = "line_too_long"
            return "\n"
        self.size += len(line)
        if self.size > LONGEST_LINE and self.first != self.line:
            raise self.open_quote(f" within {LONGEST_LINE} bytes")
        if b"\0" in line:
            self.problem = "null_character"
        try:
            return line.decode()
        except UnicodeDecodeError:
            self.problem = "not_utf8"
            return line.decode(errors="replace")

    def extent(self) -> str:
        """The lines that the row takes, where a quote makes it several: what they hold is left out too."""
        return f" (lines {self.first} to {self.line})" if self.line > self.first else ""

    def open_quote(self, within: str = "") -> InputError:
        return InputError(
            f"a quote that opens in this row is not closed{within}",
            where=f"{self.name}, line {self.first}",
            mend="Close it, or write it twice where it is meant as a character.",
        )


def csv_rows(
    file: TextFile, columns: Sequence[str], *, name: str, report: Report, setting: str
) -> Iterator[Row]:
    """The rows of a CSV; see `read_rows`. A column without a name is left out."""
    lines = _Lines(numbered_lines(file, name), name)
    reader = csv.reader(lines, strict=True)
    header: list[str] = []
    places: list[int] = []
    extras: list[tuple[int, str]] = []
    while True:
        lines.begin_row()
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            if lines.ended:
                raise lines.open_quote() from error
            cells, lines.problem = [""], lines.problem or "not_csv"
        if not cells and not lines.problem:
            continue
        if not header:
            if lines.problem:
                raise InputError(
                    f"it is no header of a CSV in UTF-8 ({lines.problem})",
                    where=f"{name}, line {lines.first}",
                    mend="Save it as CSV in UTF-8, with the names of the columns in its first line.",
                )
            header = [cell.strip() for cell in cells]
            check_header(header, columns, where=f"{name}, line {lines.first}", setting=setting)
            places = [header.index(column) if column else -1 for column in columns]
            # A table that was saved with its index has a column without a name.
            extras = [
                (place, column) for place, column in enumerate(header) if column and place not in places
            ]
        elif lines.problem:
            report(lines.first, lines.problem, CLAUSES[lines.problem] + lines.extent())
        elif len(cells) != len(header):
            counted = f"it has {len(cells)} cells where the header has {len(header)}"
            report(lines.first, "cells", counted + lines.extent())
        else:
            wanted = tuple([cells[place] if place >= 0 else None for place in places])
            yield Row(lines.first, wanted, partial(_named, cells, extras))


def _named(cells: list[str], places: list[tuple[int, str]]) -> dict[str, Any]:
    return {name: cells[place] for place, name in places}
