"""Rows of a ratings file that cannot be used, and a list of them to work through."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from selfai_pipeline.home import Home
from selfai_pipeline.labels.picture_names import PictureNames
from selfai_pipeline.labels.reasons import MENDS, Reason
from selfai_pipeline.labels.text_table import Misfit, TextTable
from selfai_pipeline.sources.tabular.reading import unit_of
from selfai_pipeline.storage import replace_file

FORMULAS = "=+-@\t\r"
"""What a cell begins with that spreadsheets compute, or that hides such a letter behind it."""


@dataclass(frozen=True)
class LeftOut:
    """A row that is left out: `file` as it is declared, the line on which the row begins (header: 1; of
    Parquet the row, of a JSON array the item), the picture's name as it stands there, and what is wrong in
    one clause.

    Names and clauses may tell about people: they go to the list and the console, never into logs or metadata.
    """

    file: str
    line: int
    name: str
    reason: Reason
    detail: str

    @property
    def place(self) -> str:
        """File and line in words."""
        return place_of(self.file, self.line)


def place_of(file: str, line: int) -> str:
    """A row of a file in words: `ratings.csv, line 3`, `ratings.parquet, row 2`."""
    return f"{file}, {unit_of(file)} {line}"


def on_row(file: str, line: int) -> str:
    """A row beside another of the same file in words: `on line 3`, `in row 2`."""
    unit = unit_of(file)
    return f"{'on' if unit == 'line' else 'in'} {unit} {line}"


class BadRows:
    """The first problem of each row of a file, while it is read.

    Args:
        file: as it is declared.
        lines: of each row.
        names: of the picture, of each row.
    """

    def __init__(self, file: str, lines: Sequence[int], names: Sequence[str]) -> None:
        self.file, self._lines, self._names = file, lines, names
        self._found: dict[int, LeftOut] = {}
        self._passed_over: frozenset[int] = frozenset()

    def pass_over(self, rows: Iterable[int]) -> None:
        """Rows that are neither good nor to be listed, whatever is wrong with them."""
        self._passed_over = frozenset(rows)

    def add(self, row: int, reason: Reason, detail: str) -> None:
        found = LeftOut(self.file, self._lines[row], self._names[row], reason, detail)
        self._found.setdefault(row, found)

    def add_empty(self, cells: Sequence[str], column: str, reason: Reason) -> None:
        for row, cell in enumerate(cells):
            if not cell:
                self.add(row, reason, f"{column!r} is empty")

    def good(self) -> npt.NDArray[np.int64]:
        """The other rows, in their order."""
        good = np.ones(len(self._names), dtype=bool)
        good[[*self._found, *self._passed_over]] = False
        return np.flatnonzero(good)

    def add_nested(self, table: TextTable, column: str) -> None:
        for place, row in table.nested:
            if place == column:
                self.add(row, Reason.NESTED, f"{column!r} is a list or an object")

    def all(self, misfits: Iterable[Misfit]) -> list[LeftOut]:
        """By line; also the rows that the table has as misfits."""
        others = [LeftOut(self.file, one.line, one.name, one.reason, one.detail) for one in misfits]
        own = [one for row, one in self._found.items() if row not in self._passed_over]
        return sorted([*own, *others], key=lambda one: one.line)


def match_names(
    names: Sequence[str],
    lines: Sequence[int],
    *,
    known: PictureNames,
    file: str,
    is_removed: Callable[[str], bool] = lambda name: False,
) -> tuple[list[str | None], list[LeftOut]]:
    """The picture that each name means; None where it means none or several, and these rows.

    Args:
        is_removed: whether a name may mean a removed picture; such rows have none, and are not listed.
    """
    removed = {name for name in set(names) if is_removed(name)}
    found = {name: [] if name in removed else known.find(name) for name in set(names)}
    pictures: list[str | None] = []
    lost = []
    for name, line in zip(names, lines, strict=True):
        meant = found[name]
        pictures.append(meant[0] if len(meant) == 1 else None)
        if name in removed:
            continue
        if not meant:
            lost.append(LeftOut(file, line, name, Reason.UNMATCHED, f"{name!r} names no picture"))
        elif len(meant) > 1:
            detail = f"{name!r} means {len(meant)} pictures, {meant[0]!r} for one"
            lost.append(LeftOut(file, line, name, Reason.AMBIGUOUS, detail))
    return pictures, lost


def count_reasons(rows: Iterable[LeftOut]) -> dict[str, int]:
    """How many rows each reason has, the most frequent first."""
    return {str(reason): count for reason, count in Counter(row.reason for row in rows).most_common()}


def count_files(rows: Sequence[LeftOut]) -> list[dict[str, Any]]:
    """For facts: of each file how many rows, and line and reason of the first; names are left out."""
    facts = []
    for file in sorted({row.file for row in rows}):
        own = [row for row in rows if row.file == file]
        first = min(own, key=lambda row: row.line)
        facts.append(
            {"file": file, "rows": len(own), "first_line": first.line, "first_reason": str(first.reason)}
        )
    return facts


def describe_files(files: Sequence[Mapping[str, Any]]) -> str:
    """`count_files` in words, with the mend; empty where nothing was left out."""
    said = []
    for one in files:
        reason = Reason(one["first_reason"])
        first = f"first {unit_of(one['file'])} {one['first_line']} ({reason})"
        said.append(f"{one['rows']} rows of {one['file']}, {first}. {MENDS[reason]}")
    listed = "imports/<source>/left_out.csv under SELFAI_HOME lists them."
    return " ".join([*said, listed]) if said else ""


def list_path(home: Home, source: str) -> Path:
    """Where the rows of a source that were left out are listed; `imports/` is served to nobody."""
    return home.imports / source / "left_out.csv"


def write_list(rows: Iterable[LeftOut], path: Path) -> None:
    """Write the list as a CSV in the order of files and lines; without rows there is none.

    A name that a spreadsheet would take for a formula has an apostrophe before it.

    Raises:
        StorageError: it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "line", "picture", "reason", "detail"])
    ordered = sorted(rows, key=lambda row: (row.file, row.line))
    writer.writerows([row.file, row.line, _harmless(row.name), row.reason, row.detail] for row in ordered)
    if ordered:
        replace_file(path, text.getvalue().encode())
    else:
        path.unlink(missing_ok=True)


def _harmless(name: str) -> str:
    return f"'{name}" if name.startswith(tuple(FORMULAS)) else name
