"""Ratings as they come in: one row a rating, or one row a mean over several, mapped to the scale 0..9."""

import itertools
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home
from selfai_pipeline.labels.label_studio import is_export, read_export
from selfai_pipeline.labels.left_out import BadRows, LeftOut, on_row
from selfai_pipeline.labels.reasons import NO_RATINGS, Reason
from selfai_pipeline.labels.repeats import Statements, without_repeats
from selfai_pipeline.labels.text_table import Misfit, TextTable, collect_table, read_table, rows_of
from selfai_pipeline.schemas import SCORE_MAXIMUM, SCORE_MINIMUM
from selfai_pipeline.sources.settings import PicturesFile, RatingsFile
from selfai_pipeline.sources.tabular.reading import ending_of

LARGEST_COUNT = 1_000_000_000
DATED = re.compile(r"\d{4}-")
"""How a moment begins: without the hyphen, milliseconds since 1970 would be read as a date as well."""

PICTURE_COLUMN = "--picture-column (picture_column in sources.yaml)"


@dataclass(frozen=True)
class Rows:
    """The rows of a file that can be used, n of them.

    `lines` are those on which the rows begin (of Parquet the row, of a JSON array the item). `attributes`
    holds the further cells of each row as a JSON object of text, empty cells left out. `left_out` rows cannot
    be used; `read` counts all but those that nobody meant as ratings.
    """

    file: RatingsFile | PicturesFile
    read: int
    lines: list[int]
    names: list[str]
    attributes: list[str]
    left_out: list[LeftOut]

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Ratings(Rows):
    """The rows of a ratings file.

    `annotators` is None for means. `scores` are float64 [n] in 0..9, `original_scores` on the scale of the
    file; `counts` int64 [n] is 1 for a single rating and for a mean whose count is not known. `repeated` rows
    said once more what a kept row says, `superseded` ones were followed by a later rating.
    """

    annotators: list[str] | None
    annotator_groups: list[str | None]
    scores: npt.NDArray[np.float64]
    original_scores: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]
    rated_at: list[datetime | None]
    repeated: int
    superseded: int


def read_ratings(
    file: RatingsFile, *, home: Home, is_removed: Callable[[str], bool] = lambda annotator: False
) -> Ratings:
    """Read a ratings file; rows that cannot be used are left out with their reason.

    Rows with the same picture and annotator: those that say the same are one rating; of different ones the
    one with the latest `rated_at` counts, and where that is not clear all of them are left out.

    Args:
        is_removed: whether an annotator was removed; their rows are passed over, as if they were not there.

    Raises:
        InputError: the file cannot be used as a whole, has no such column, or is declared in a way that makes
            no sense.
    """
    path = file.file(home)
    if file.annotator_column and file.count_column:
        raise InputError(
            "it is declared with both an annotator and a count",
            where=str(path),
            mend="Single ratings have an annotator_column, means a count_column: leave one empty.",
        )
    width = file.maximum - file.minimum
    if not math.isfinite(width):
        raise InputError(
            "its scale has no end", where=str(path), mend="Give --minimum and --maximum as numbers."
        )
    table, said_by = _table_of(file, path)
    names = table.column(file.picture_column, setting=PICTURE_COLUMN)
    bad = BadRows(file.path, table.lines, names)
    bad.add_nested(table, file.picture_column)
    bad.add_empty(names, file.picture_column, Reason.NO_NAME)
    annotators = None
    if said_by.annotator_column:
        annotators = table.column(
            said_by.annotator_column, setting="--annotator-column (annotator_column in sources.yaml)"
        )
        removed = {one for one in set(annotators) if is_removed(one)}
        bad.pass_over(row for row, one in enumerate(annotators) if one in removed)
        bad.add_nested(table, said_by.annotator_column)
        bad.add_empty(annotators, said_by.annotator_column, Reason.NO_ANNOTATOR)
    groups = _annotator_groups(table, said_by, bad)
    original_scores = _scores(table, said_by, bad)
    counts = _counts(table, said_by, bad)
    rated_at = _moments(table, said_by, bad)
    attributes = _attributes(table, said_by)
    said = Statements(names, annotators or [""] * len(names), original_scores, counts, rated_at)
    kept, repeated, superseded = without_repeats(said, table.lines, bad)
    scores = SCORE_MINIMUM + (original_scores - file.minimum) / width * (SCORE_MAXIMUM - SCORE_MINIMUM)
    return Ratings(
        file=file,
        read=table.read - sum(one.reason in NO_RATINGS for one in table.misfits),
        lines=[table.lines[k] for k in kept],
        names=[names[k] for k in kept],
        annotators=None if annotators is None else [annotators[k] for k in kept],
        annotator_groups=[groups[k] for k in kept],
        scores=np.clip(scores[kept], SCORE_MINIMUM, SCORE_MAXIMUM),
        original_scores=original_scores[kept],
        counts=counts[kept],
        rated_at=[rated_at[k] for k in kept],
        attributes=[attributes[k] for k in kept],
        left_out=bad.all(table.misfits),
        repeated=repeated,
        superseded=superseded,
    )


def read_pictures(file: PicturesFile, *, home: Home) -> Rows:
    """Read a file about pictures, one row a name; rows that cannot be used are left out with their reason.

    Raises:
        InputError: the file cannot be used as a whole, or has no such column.
    """
    table = read_table(file.file(home))
    names = table.column(file.picture_column, setting=PICTURE_COLUMN)
    bad = BadRows(file.path, table.lines, names)
    bad.add_nested(table, file.picture_column)
    bad.add_empty(names, file.picture_column, Reason.NO_NAME)
    others = [name for name in table.columns if name != file.picture_column]
    attributes = [
        {column: table.columns[column][row] for column in others if table.columns[column][row]}
        for row in range(len(names))
    ]
    rows_of: dict[str, list[int]] = {}
    for row in bad.good():
        rows_of.setdefault(names[row], []).append(int(row))
    for name, rows in rows_of.items():
        for row in rows:
            other = next((one for one in rows if attributes[one] != attributes[row]), None)
            if other is not None:
                detail = f"{name!r} is described differently {on_row(file.path, table.lines[other])}"
                bad.add(row, Reason.CONTRADICTS, detail)
    good = set(bad.good().tolist())
    kept = [rows[0] for rows in rows_of.values() if rows[0] in good]
    return Rows(
        file=file,
        read=table.read,
        lines=[table.lines[row] for row in kept],
        names=[names[row] for row in kept],
        attributes=[_to_json(attributes[row]) for row in kept],
        left_out=bad.all(table.misfits),
    )


def _table_of(file: RatingsFile, path: Path) -> tuple[TextTable, RatingsFile]:
    """The table in a file, and the columns in which it says who rated how; of Label Studio its own ones."""
    misfits: list[Misfit] = []
    rows = rows_of(path, misfits)
    first = next(rows, None)
    if first is None:
        return collect_table(path, [], misfits), file
    rows = itertools.chain([first], rows)
    if ending_of(path.name) == ".json" and is_export(first[1]):
        return read_export(file, path, rows, misfits)
    return collect_table(path, rows, misfits), file


def _scores(table: TextTable, file: RatingsFile, bad: BadRows) -> npt.NDArray[np.float64]:
    cells = table.column(file.score_column, setting="--score-column (score_column in sources.yaml)")
    scores = np.array([_number(cell) for cell in cells], dtype=np.float64)
    outside = ~((scores >= file.minimum) & (scores <= file.maximum))
    for row in np.flatnonzero(outside).tolist():
        if np.isfinite(scores[row]):
            detail = f"the score {cells[row]} is outside of {file.minimum:g}..{file.maximum:g}"
            bad.add(row, Reason.OUT_OF_RANGE, detail)
        else:
            bad.add(row, Reason.NOT_A_NUMBER, f"the score {cells[row]!r} is not a number")
    return scores


def _annotator_groups(table: TextTable, file: RatingsFile, bad: BadRows) -> list[str | None]:
    if not file.annotator_group_column:
        return [None] * len(table)
    setting = "--annotator-group-column (annotator_group_column in sources.yaml)"
    cells = table.column(file.annotator_group_column, setting=setting)
    bad.add_nested(table, file.annotator_group_column)
    return [cell or None for cell in cells]


def _number(cell: str) -> float:
    """The number that a cell holds; NaN where it holds none."""
    try:
        # Python would read 1_5 as 15.
        return math.nan if "_" in cell else float(cell)
    except ValueError:
        return math.nan


def _counts(table: TextTable, file: RatingsFile, bad: BadRows) -> npt.NDArray[np.int64]:
    counts = np.ones(len(table), dtype=np.int64)
    if not file.count_column:
        return counts
    cells = table.column(file.count_column, setting="--count-column (count_column in sources.yaml)")
    for row, cell in enumerate(cells):
        value = _number(cell)
        if 1 <= value <= LARGEST_COUNT and value == int(value):
            counts[row] = int(value)
        else:
            bad.add(row, Reason.NO_COUNT, f"the count {cell!r} is not a whole number of 1 or more")
    return counts


def _moments(table: TextTable, file: RatingsFile, bad: BadRows) -> list[datetime | None]:
    moments: list[datetime | None] = [None] * len(table)
    if not file.rated_at_column:
        return moments
    cells = table.column(file.rated_at_column, setting="--rated-at-column (rated_at_column in sources.yaml)")
    for row, cell in enumerate(cells):
        if not cell:
            continue
        try:
            moment = datetime.fromisoformat(cell if DATED.match(cell) else "")
            # A moment without an offset is taken as UTC.
            moments[row] = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            bad.add(row, Reason.NO_MOMENT, f"{cell!r} is not a moment")
    return moments


def _attributes(table: TextTable, file: RatingsFile) -> list[str]:
    names = file.attribute_columns
    if names is None:
        names = [name for name in table.columns if name not in file.own_columns]
    columns = [table.column(name, setting="attribute_columns in sources.yaml") for name in names]
    if not columns:
        return ["{}"] * len(table)
    known: dict[tuple[str, ...], str] = {}
    for cells in set(zip(*columns, strict=True)):
        values = {name: cell for name, cell in zip(names, cells, strict=True) if cell}
        known[cells] = _to_json(values)
    return [known[cells] for cells in zip(*columns, strict=True)]


def _to_json(values: dict[str, str]) -> str:
    return json.dumps(values, sort_keys=True, ensure_ascii=False)
