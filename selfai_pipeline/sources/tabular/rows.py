"""What tables from outside come to, whatever their format: rows with their line, within limits.

What is wrong with one row is reported with its line and a reason, and costs that row; what is wrong with the
whole file is an `InputError`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from selfai_pipeline.errors import InputError

LONGEST_LINE = 100_000
"""Bytes of a line, and of a CSV's row over several lines."""

MOST_COLUMNS = 200


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it stands in its file.

    `line` counts from 1, the header too; of a Parquet file it counts rows, of a JSON array items. `cells` are
    those of the columns that were asked for, None where the row has none; `extra` makes a mapping of the
    other columns when it is called.
    """

    line: int
    cells: tuple[Any, ...]
    extra: Callable[[], dict[str, Any]]


Report = Callable[[int, str, str], None]
"""Takes the line of a row that is left out, the reason (a key of `MENDS`), and what is wrong, in a clause."""

MENDS = {
    "cells": "Give each row as many cells as the header; a comma inside a cell needs quotes around it.",
    "line_too_long": f"Shorten the row to {LONGEST_LINE} bytes.",
    "null_character": "Take the null character out.",
    "not_utf8": "Save the file in UTF-8.",
    "not_csv": "Put cells with a quote or a line end into quotes, and double the quotes in them.",
    "not_json": "Write one JSON object a row.",
    "repeated_key": "Give each key of a JSON object once.",
    "too_many_columns": "Leave out what says nothing about a picture.",
}
"""Why a row is no row of a table, and what to do."""


def is_text(text: str) -> bool:
    """Whether a text can be stored: PostgreSQL keeps no null characters, nothing keeps half a character."""
    if text.isprintable():
        return True
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def check_header(header: Sequence[str], columns: Sequence[str], *, where: str, setting: str) -> None:
    """Make sure that a header has the wanted columns, and no name twice.

    Args:
        columns: those that it has to have; empty names are passed over.
        setting: where their names are given.

    Raises:
        InputError: it is not so.
    """
    if len(header) > MOST_COLUMNS:
        raise InputError(
            f"it has {len(header)} columns, where {MOST_COLUMNS} are the most",
            where=where,
            mend="Leave out those that say nothing about a picture.",
        )
    missing = next((column for column in columns if column and column not in header), None)
    if missing is not None:
        raise missing_column(missing, header, where=where, setting=setting)
    repeated = next((one for place, one in enumerate(header) if one and one in header[:place]), None)
    if repeated is not None:
        raise InputError(
            f"two columns are called {repeated!r}", where=where, mend="Give each column a name of its own."
        )


def missing_column(column: str, header: Sequence[str], *, where: str, setting: str) -> InputError:
    """The error that a table lacks a column; `setting` says where its name is given."""
    first = header[0] if header else ""
    separator = {";": "semicolons", "\t": "tabulators"}.get(next((one for one in ";\t" if one in first), ""))
    return InputError(
        f"there is no column {column!r}; it has {', '.join(map(repr, header[:12]))}",
        where=where,
        mend=f"It is separated by {separator}: save it with commas."
        if separator and len(header) == 1
        else f"Name the right one with {setting}.",
    )
