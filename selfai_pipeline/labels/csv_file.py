"""A CSV from outside as columns of text, each row with its line; what is wrong with it is said by line."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from selfai_pipeline.errors import InputError


@dataclass(frozen=True)
class CsvColumns:
    """The cells of a CSV without the spaces around them; blank lines are left out.

    `columns[name][k]` is a cell of the k-th row, `lines[k]` the line on which that row ends (header: 1).
    `misfits` are rows with more or fewer cells than the header, as (line, number of cells).
    """

    path: Path
    columns: dict[str, list[str]]
    lines: list[int]
    misfits: list[tuple[int, int]]

    def __len__(self) -> int:
        return len(self.lines)

    def column(self, name: str, *, setting: str) -> list[str]:
        """The cells of a column that the file has to have; `setting` says where its name is given.

        Raises:
            InputError: there is no such column.
        """
        if name in self.columns:
            return self.columns[name]
        only = next(iter(self.columns))
        separator = {";": "semicolons", "\t": "tabulators"}.get(next((c for c in ";\t" if c in only), ""))
        raise InputError(
            f"there is no column {name!r}; it has {', '.join(map(repr, list(self.columns)[:12]))}",
            where=f"{self.path}, line 1",
            mend=f"It is separated by {separator}: save it with commas."
            if separator and len(self.columns) == 1
            else f"Name the right one with {setting}.",
        )


def read_csv(path: Path) -> CsvColumns:
    """Read a comma-separated file in UTF-8 with a header; byte-order mark and Windows line ends are fine.

    Raises:
        InputError: the file is missing, empty, not UTF-8 or no CSV, has no rows, or a header with a repeated
            or empty name.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"it cannot be read ({error.strerror})", where=str(path), mend="Give the path of a CSV file."
        ) from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(
            "it is not UTF-8", where=f"{path}, line {line}", mend="Save it as CSV in UTF-8."
        ) from None
    if "\x00" in text:
        line = text[: text.index("\x00")].count("\n") + 1
        raise InputError(
            "it holds a zero byte", where=f"{path}, line {line}", mend="Save it as CSV in UTF-8."
        )
    rows, lines = _rows(text, path)
    if not rows:
        raise InputError(
            "the file is empty", where=str(path), mend="It needs a header and one row a rating or picture."
        )
    header = rows[0]
    _check_header(header, where=f"{path}, line {lines[0]}")
    if len(rows) == 1:
        raise InputError(
            "it has a header but no rows", where=str(path), mend="It needs one row a rating or picture."
        )
    fitting = [(row, line) for row, line in zip(rows, lines, strict=True) if len(row) == len(header)][1:]
    columns = {name: [row[place].strip() for row, _ in fitting] for place, name in enumerate(header)}
    misfits = [(line, len(row)) for row, line in zip(rows, lines, strict=True) if len(row) != len(header)]
    return CsvColumns(path, columns, [line for _, line in fitting], misfits)


def _rows(text: str, path: Path) -> tuple[list[list[str]], list[int]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        for row in reader:
            if any(row):
                rows.append(row)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise InputError(
            f"it is no CSV ({error})",
            where=f"{path}, line {reader.line_num}",
            mend="Mend that line; quotes inside a quoted cell are doubled.",
        ) from None
    if rows:
        rows[0] = [name.strip() for name in rows[0]]
    return rows, lines


def _check_header(header: Sequence[str], *, where: str) -> None:
    if "" in header:
        raise InputError(
            f"column {list(header).index('') + 1} has no name", where=where, mend="Give each column a name."
        )
    repeated = next((name for k, name in enumerate(header) if name in header[:k]), None)
    if repeated is not None:
        raise InputError(
            f"two columns are called {repeated!r}", where=where, mend="Give each column a name of its own."
        )
