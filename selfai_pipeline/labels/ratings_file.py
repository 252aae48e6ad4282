"""Ratings as they come in: one row a rating, or one row a mean over several, mapped to the scale 0..9."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home
from selfai_pipeline.labels.csv_file import CsvColumns, read_csv
from selfai_pipeline.schemas import SCORE_MAXIMUM, SCORE_MINIMUM
from selfai_pipeline.sources.settings import PicturesFile, RatingsFile

LARGEST_COUNT = 1_000_000_000


@dataclass(frozen=True)
class Ratings:
    """The rows of a ratings file, n of them, a column each.

    `annotators` is None for means. `scores` are float64 [n] in 0..9, `original_scores` on the scale of the
    file; `counts` int64 [n] is 1 for a single rating and for a mean whose count is not known. `attributes`
    holds the further cells of each row as a JSON object of text, empty cells left out. `repeated` rows said
    once more what a kept row says, `superseded` ones were followed by a later rating; both are left out.
    """

    file: RatingsFile
    table: CsvColumns
    rows: npt.NDArray[np.int64]
    names: list[str]
    annotators: list[str] | None
    scores: npt.NDArray[np.float64]
    original_scores: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]
    rated_at: list[datetime | None]
    attributes: list[str]
    repeated: int
    superseded: int

    def __len__(self) -> int:
        return len(self.names)


def read_ratings(file: RatingsFile, *, home: Home) -> Ratings:
    """Read and validate a ratings file.

    Rows with the same picture and annotator: those that say the same are one rating; of different ones the
    one with the latest `rated_at` counts.

    Raises:
        InputError: a column is missing; a name, annotator, score, count or moment cannot be used; or two rows
            contradict each other. The message names the file and the line.
    """
    table = read_csv(file.file(home))
    names = _filled(table, file.picture_column, setting="picture_column")
    original_scores = _scores(table, file)
    annotators = None
    if file.annotator_column:
        if file.count_column:
            raise InputError(
                "it is declared with both an annotator and a count",
                where=str(table.path),
                mend="Single ratings have an annotator_column, means a count_column: leave one empty.",
            )
        annotators = _filled(table, file.annotator_column, setting="annotator_column")
    counts = _counts(table, file)
    rated_at = _moments(table, file)
    attributes = _attributes(table, file)
    kept, repeated, superseded = _without_repeats(
        table, names, annotators or [""] * len(names), original_scores, counts, rated_at
    )
    width = file.maximum - file.minimum
    if not math.isfinite(width):
        raise InputError("its scale has no end", where=str(table.path), mend="Give minimum and maximum.")
    scores = SCORE_MINIMUM + (original_scores - file.minimum) / width * (SCORE_MAXIMUM - SCORE_MINIMUM)
    return Ratings(
        file=file,
        table=table,
        rows=kept,
        names=[names[k] for k in kept],
        annotators=None if annotators is None else [annotators[k] for k in kept],
        scores=np.clip(scores[kept], SCORE_MINIMUM, SCORE_MAXIMUM),
        original_scores=original_scores[kept],
        counts=counts[kept],
        rated_at=[rated_at[k] for k in kept],
        attributes=[attributes[k] for k in kept],
        repeated=repeated,
        superseded=superseded,
    )


def read_picture_attributes(file: PicturesFile, *, home: Home) -> dict[str, dict[str, str]]:
    """The further columns about each picture, by its name; empty cells are left out.

    Raises:
        InputError: the file cannot be read, has no such column, or two rows of one picture differ.
    """
    table = read_csv(file.file(home))
    names = _filled(table, file.picture_column, setting="picture_column")
    others = [name for name in table.columns if name != file.picture_column]
    attributes: dict[str, dict[str, str]] = {}
    first: dict[str, int] = {}
    for row, name in enumerate(names):
        values = {column: table.columns[column][row] for column in others if table.columns[column][row]}
        if name in attributes and attributes[name] != values:
            raise InputError(
                f"{name!r} is described differently than on line {table.lines[first[name]]}",
                where=table.place(row),
                mend="Keep one of the two rows.",
            )
        attributes[name] = values
        first.setdefault(name, row)
    return attributes


def _filled(table: CsvColumns, name: str, *, setting: str) -> list[str]:
    cells = table.column(name, setting=setting)
    if "" in cells:
        raise InputError(
            f"{name!r} is empty", where=table.place(cells.index("")), mend="Fill it in, or drop the row."
        )
    return cells


def _scores(table: CsvColumns, file: RatingsFile) -> npt.NDArray[np.float64]:
    cells = table.column(file.score_column, setting="score_column")
    try:
        scores = np.array([float(cell) for cell in cells], dtype=np.float64)
    except ValueError:
        row = next(row for row, cell in enumerate(cells) if not _is_number(cell))
        raise InputError(
            f"the score {cells[row]!r} is not a number",
            where=table.place(row),
            mend="Write it with a decimal point, or drop the row.",
        ) from None
    outside = ~((scores >= file.minimum) & (scores <= file.maximum))
    if outside.any():
        row = int(outside.argmax())
        raise InputError(
            f"the score {cells[row]} is outside of {file.minimum:g}..{file.maximum:g} "
            f"({int(outside.sum())} such rows in all)",
            where=table.place(row),
            mend="Mend the score, or give the scale of the file with minimum and maximum.",
        )
    return scores


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _counts(table: CsvColumns, file: RatingsFile) -> npt.NDArray[np.int64]:
    if not file.count_column:
        return np.ones(len(table), dtype=np.int64)
    cells = table.column(file.count_column, setting="count_column")
    counts = np.ones(len(cells), dtype=np.int64)
    for row, cell in enumerate(cells):
        value = float(cell) if _is_number(cell) else math.nan
        if not (1 <= value <= LARGEST_COUNT and value == int(value)):
            raise InputError(
                f"the count {cell!r} is not a whole number of 1 or more",
                where=table.place(row),
                mend="Mend it, or drop the row.",
            )
        counts[row] = int(value)
    return counts


def _moments(table: CsvColumns, file: RatingsFile) -> list[datetime | None]:
    if not file.rated_at_column:
        return [None] * len(table)
    moments: list[datetime | None] = []
    for row, cell in enumerate(table.column(file.rated_at_column, setting="rated_at_column")):
        try:
            moment = datetime.fromisoformat(cell) if cell else None
            # A moment without an offset is taken as UTC.
            if moment is not None:
                moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            raise InputError(
                f"{cell!r} is not a moment",
                where=table.place(row),
                mend="Write it as 2026-01-31T12:00:00Z, or leave it empty.",
            ) from None
        moments.append(moment)
    return moments


def _attributes(table: CsvColumns, file: RatingsFile) -> list[str]:
    taken = {
        file.picture_column,
        file.score_column,
        file.annotator_column,
        file.count_column,
        file.rated_at_column,
    }
    names = file.attribute_columns
    if names is None:
        names = [name for name in table.columns if name not in taken]
    columns = [table.column(name, setting="attribute_columns") for name in names]
    if not columns:
        return ["{}"] * len(table)
    known: dict[tuple[str, ...], str] = {}
    for cells in set(zip(*columns, strict=True)):
        values = {name: cell for name, cell in zip(names, cells, strict=True) if cell}
        known[cells] = json.dumps(values, sort_keys=True, ensure_ascii=False)
    return [known[cells] for cells in zip(*columns, strict=True)]


def _codes(values: Sequence[str]) -> npt.NDArray[np.int64]:
    """A number for each different text."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)


def _without_repeats(
    table: CsvColumns,
    names: list[str],
    annotators: list[str],
    scores: npt.NDArray[np.float64],
    counts: npt.NDArray[np.int64],
    rated_at: list[datetime | None],
) -> tuple[npt.NDArray[np.int64], int, int]:
    """Rows to keep, in their order, and how many were repeated and superseded."""
    annotator = _codes(annotators)
    key = _codes(names) * (int(annotator.max()) + 1) + annotator
    order = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.diff(key[order], prepend=-1))
    sizes = np.diff(starts, append=len(order))
    keep = np.ones(len(names), dtype=bool)
    repeated = superseded = 0
    for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True):
        group = [int(row) for row in order[start : start + size]]
        moments = [moment.timestamp() if moment else -math.inf for moment in map(rated_at.__getitem__, group)]
        latest = [row for row, moment in zip(group, moments, strict=True) if moment == max(moments)]
        kept = latest[0]
        for row in latest[1:]:
            if (scores[row], counts[row]) != (scores[kept], counts[kept]):
                who = f" by {annotators[row]!r}" if annotators[row] else ""
                raise InputError(
                    f"{names[row]!r} is scored {scores[row]:g}{who}, but {scores[kept]:g} "
                    f"on line {table.lines[kept]}",
                    where=table.place(row),
                    mend="Keep one of the two rows, or name the column with their moments (rated_at).",
                )
        keep[group] = False
        keep[kept] = True
        for row in group:
            if row != kept:
                same = (scores[row], counts[row]) == (scores[kept], counts[kept])
                repeated += same
                superseded += not same
    return np.flatnonzero(keep), repeated, superseded
