"""Rows of a ratings file that cannot be used: why, how to mend them, and a list of them to work through."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from selfai_pipeline.home import Home
from selfai_pipeline.labels.picture_names import PictureNames
from selfai_pipeline.storage import replace_file


class Reason(StrEnum):
    """Why a row is left out; the values stand in facts and lists."""

    CELLS = "cells"
    NO_NAME = "no_name"
    NO_ANNOTATOR = "no_annotator"
    NOT_A_NUMBER = "not_a_number"
    OUT_OF_RANGE = "out_of_range"
    NO_COUNT = "no_count"
    NO_MOMENT = "no_moment"
    CONTRADICTS = "contradicts"
    UNMATCHED = "unmatched"
    AMBIGUOUS = "ambiguous"


MENDS = {
    Reason.CELLS: "Give each row as many cells as the header; a comma inside a cell needs quotes around it.",
    Reason.NO_NAME: "Fill in the picture's name, or name its column with --picture-column.",
    Reason.NO_ANNOTATOR: "Fill in the annotator, or name the column with --annotator-column.",
    Reason.NOT_A_NUMBER: "Write scores with a decimal point, or name their column with --score-column.",
    Reason.OUT_OF_RANGE: "Mend the score, or give the scale of the file with --minimum and --maximum.",
    Reason.NO_COUNT: "Write counts as whole numbers of 1 or more, or name their column with --count-column.",
    Reason.NO_MOMENT: "Write moments as 2026-01-31T12:00:00Z, or name their column with --rated-at-column.",
    Reason.CONTRADICTS: "Keep one of the rows, or name the column with their moments with --rated-at-column.",
    Reason.UNMATCHED: "Mend the names, name their column with --picture-column, or give the right folder.",
    Reason.AMBIGUOUS: "Write the path inside the folder as the picture's name.",
}
"""What to do, with the options of `selfai import`; in sources.yaml they have underscores and no dashes."""


@dataclass(frozen=True)
class LeftOut:
    """A row that is left out: `file` as it is declared, the line on which the row ends (header: 1), the
    picture's name as it stands there, and what is wrong in one clause.

    Names and clauses may tell about people: they go to the list and the console, never into logs or metadata.
    """

    file: str
    line: int
    name: str
    reason: Reason
    detail: str


class BadRows:
    """The first problem of each row of a file, while it is read.

    Args:
        file: as it is declared.
        lines: of each row.
        names: of the picture, of each row.
    """

    def __init__(self, file: str, lines: Sequence[int], names: Sequence[str]) -> None:
        self._file, self._lines, self._names = file, lines, names
        self._found: dict[int, LeftOut] = {}

    def add(self, row: int, reason: Reason, detail: str) -> None:
        found = LeftOut(self._file, self._lines[row], self._names[row], reason, detail)
        self._found.setdefault(row, found)

    def add_empty(self, cells: Sequence[str], column: str, reason: Reason) -> None:
        for row, cell in enumerate(cells):
            if not cell:
                self.add(row, reason, f"{column!r} is empty")

    def good(self) -> npt.NDArray[np.int64]:
        """The other rows, in their order."""
        good = np.ones(len(self._names), dtype=bool)
        good[list(self._found)] = False
        return np.flatnonzero(good)

    def all(self, *, misfits: Iterable[tuple[int, int]], width: int) -> list[LeftOut]:
        """By line; also the misfits (line, cells) beside a header of `width` cells."""
        uneven = [
            LeftOut(self._file, line, "", Reason.CELLS, f"it has {cells} cells where the header has {width}")
            for line, cells in misfits
        ]
        return sorted([*self._found.values(), *uneven], key=lambda one: one.line)


def match_names(
    names: Sequence[str], lines: Sequence[int], *, known: PictureNames, file: str
) -> tuple[list[str | None], list[LeftOut]]:
    """The picture that each name means; None where it means none or several, and these rows."""
    found = {name: known.find(name) for name in set(names)}
    pictures: list[str | None] = []
    lost = []
    for name, line in zip(names, lines, strict=True):
        meant = found[name]
        pictures.append(meant[0] if len(meant) == 1 else None)
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
        said.append(
            f"{one['rows']} rows of {one['file']}, first line {one['first_line']} ({reason}). {MENDS[reason]}"
        )
    listed = "imports/<source>/left_out.csv under SELFAI_HOME lists them."
    return " ".join([*said, listed]) if said else ""


def list_path(home: Home, source: str) -> Path:
    """Where the rows of a source that were left out are listed; `imports/` is served to nobody."""
    return home.imports / source / "left_out.csv"


def write_list(rows: Iterable[LeftOut], path: Path) -> None:
    """Write the list as a CSV in the order of files and lines; without rows there is none.

    Raises:
        StorageError: it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "line", "picture", "reason", "detail"])
    ordered = sorted(rows, key=lambda row: (row.file, row.line))
    writer.writerows([row.file, row.line, row.name, row.reason, row.detail] for row in ordered)
    if ordered:
        replace_file(path, text.getvalue().encode())
    else:
        path.unlink(missing_ok=True)
