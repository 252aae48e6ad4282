"""A table from outside as columns of text; each row, and what is wrong with one, with its line."""

import datetime
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from selfai_pipeline.errors import InputError
from selfai_pipeline.labels.reasons import MENDS, Reason
from selfai_pipeline.sources.tabular.reading import read_rows, unit_of
from selfai_pipeline.sources.tabular.rows import MENDS as ROW_MENDS
from selfai_pipeline.sources.tabular.rows import MOST_COLUMNS, is_text, missing_column

MOST_ROWS = 10_000_000
MOST_MISFITS = 1_000_000
MOST_CHARACTERS = 2_000_000_000
"""Of all cells together: a file of some kilobytes can claim far more than memory has."""

MOST_SHARED = 100_000
"""Different cells that are held once however often they come, as annotators and scores do."""

ENDING = "The ending of its name has to be that of its format."
PANDAS_INDEX = "__index_level_"


class Misfit(NamedTuple):
    """A row that is no row of the table; `name` is the picture's, where it is known."""

    line: int
    reason: Reason
    detail: str
    name: str = ""


@dataclass(frozen=True)
class TextTable:
    """The cells of a table without the spaces around them; columns without a name are left out.

    `columns[name][k]` is a cell of the k-th row, empty where it has none; `lines[k]` the line on which that
    row begins (header: 1), of Parquet its row, of a JSON array its item. `nested` holds (column, k) where a
    list or an object stands, which the cell has as JSON. `misfits` are the other rows.
    """

    path: Path
    columns: dict[str, list[str]] = field(default_factory=dict)
    lines: list[int] = field(default_factory=list)
    nested: set[tuple[str, int]] = field(default_factory=set)
    misfits: list[Misfit] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def read(self) -> int:
        """How many rows the file has, misfits too."""
        return len(self.lines) + len(self.misfits)

    def column(self, name: str, *, setting: str) -> list[str]:
        """The cells of a column that the file has to have; `setting` says where its name is given.

        Raises:
            InputError: there is no such column.
        """
        if name in self.columns:
            return self.columns[name]
        where = f"{self.path}, line 1" if ".csv" in self.path.name.lower() else str(self.path)
        raise missing_column(name, list(self.columns), where=where, setting=setting)


def read_table(path: Path) -> TextTable:
    """Read a table whose ending is one of `TABLE_ENDINGS`; byte-order marks and Windows line ends are fine.

    Raises:
        InputError: the file cannot be used as a whole (see `read_rows`), has no rows, none that can be used,
            or too many.
    """
    misfits: list[Misfit] = []
    return collect_table(path, rows_of(path, misfits), misfits)


def rows_of(path: Path, misfits: list[Misfit]) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, values by column) of each row, in a stream; rows that are none are added to `misfits`.

    Raises:
        InputError: as `read_rows`; or there are more than `MOST_ROWS`, or `MOST_MISFITS` that are none.
    """

    def report(line: int, reason: str, detail: str) -> None:
        if len(misfits) >= MOST_MISFITS:
            raise _too_large(path, line, f"it has more than {MOST_MISFITS} rows that are none ({detail})")
        misfits.append(Misfit(line, Reason(reason), detail))

    for number, row in enumerate(read_rows(path, (), name=str(path), report=report), start=1):
        if number > MOST_ROWS:
            raise _too_large(path, row.line, f"it has more than {MOST_ROWS} rows")
        yield row.line, row.extra()


def collect_table(path: Path, rows: Iterable[tuple[int, dict[str, Any]]], misfits: list[Misfit]) -> TextTable:
    """The rows as columns of text.

    Raises:
        InputError: there are none, none that can be used, or they are too large together.
    """
    table = TextTable(path, misfits=misfits)
    names: dict[str, str] = {}
    shared: dict[str, str] = {}
    characters = 0
    for line, values in rows:
        try:
            cells, nested = _cells(values, names)
        except _NoRowError as error:
            misfits.append(Misfit(line, error.reason, error.detail))
            continue
        row = len(table.lines)
        table.lines.append(line)
        if nested:
            table.nested.update((name, row) for name in nested)
        for name, cell in cells.items():
            characters += len(cell)
            if name not in table.columns:
                table.columns[name] = [""] * row
            if len(shared) < MOST_SHARED:
                shared.setdefault(cell, cell)
            table.columns[name].append(shared.get(cell, cell))
        if len(cells) < len(table.columns):
            for name in table.columns.keys() - cells.keys():
                table.columns[name].append("")
        if characters > MOST_CHARACTERS:
            raise _too_large(path, line, f"its cells have more than {MOST_CHARACTERS} characters")
        if len(table.columns) > MOST_COLUMNS:
            raise _too_large(path, line, f"its rows have more than {MOST_COLUMNS} different columns")
    if not table.read:
        raise InputError("it has no rows", where=str(path), mend="It needs one row a rating or picture.")
    if not table.lines:
        first = min(misfits)
        raise InputError(
            f"{first.detail}; none of its {len(misfits)} rows can be used",
            where=f"{path}, {unit_of(str(path))} {first.line}",
            mend=f"{MENDS[first.reason]} {ENDING if first.reason in ROW_MENDS else ''}".strip(),
        )
    return table


def _too_large(path: Path, line: int, what: str) -> InputError:
    return InputError(
        what,
        where=f"{path}, {unit_of(str(path))} {line}",
        mend="Leave out what says nothing about a picture, or make several files of it.",
    )


class _NoRowError(Exception):
    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


def _cells(values: Mapping[str, Any], names: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """The text of each cell by column, and the columns in which a list or an object stands.

    Args:
        names: of columns, by their spellings; they are added as they come.

    Raises:
        _NoRowError: a name is there twice, or a cell or name is no text that can be stored.
    """
    cells: dict[str, str] = {}
    nested = []
    for spelled, value in values.items():
        name = names.get(spelled)
        if name is None:
            name = _text(spelled.strip())
            names[spelled] = name = "" if name.startswith(PANDAS_INDEX) else name
        if not name:
            continue
        if name in cells:
            raise _NoRowError(Reason.REPEATED_KEY, f"it has the key {name[:100]!r} twice")
        cell, is_nested = text_of(value)
        cells[name] = _text(cell)
        if is_nested:
            nested.append(name)
    return cells, nested


def _text(text: str) -> str:
    """The text; raises _NoRowError where it cannot be stored."""
    if is_text(text):
        return text
    if "\0" in text:
        raise _NoRowError(Reason.NULL_CHARACTER, "it holds a null character")
    raise _NoRowError(Reason.NOT_UTF8, "it holds half a character")


def text_of(value: Any) -> tuple[str, bool]:
    """The text that a CSV would have in the place of a value, and whether this is a list or an object.

    Nothing and NaN are empty; numbers are written so that reading them gives the same number; moments are
    written as ISO 8601, lists and objects as JSON.
    """
    if isinstance(value, str):
        return value.strip(), False
    if value is None:
        return "", False
    if isinstance(value, bool):
        return ("true" if value else "false"), False
    if isinstance(value, int):
        return str(value), False
    if isinstance(value, float):
        return ("" if math.isnan(value) else repr(value)), False
    if isinstance(value, Decimal):
        return format(value, "f"), False
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat(), False
    if isinstance(value, (list, tuple, dict)):
        try:
            return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str), True
        except (RecursionError, TypeError):
            return "...", True
    return str(value), False
