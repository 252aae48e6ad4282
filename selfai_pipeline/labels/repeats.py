"""Rows of a ratings file that say something about the same picture by the same annotator."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from selfai_pipeline.labels.left_out import BadRows, on_row
from selfai_pipeline.labels.reasons import Reason


@dataclass(frozen=True)
class Statements:
    """What n rows say, a column each; `annotators` are empty for means."""

    names: Sequence[str]
    annotators: Sequence[str]
    scores: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]
    rated_at: Sequence[datetime | None]

    def value(self, row: int) -> tuple[float, int]:
        return float(self.scores[row]), int(self.counts[row])

    def moment(self, row: int) -> float:
        """Seconds since 1970; before everything else where it is not known."""
        rated_at = self.rated_at[row]
        return rated_at.timestamp() if rated_at else -math.inf


def without_repeats(
    said: Statements, lines: Sequence[int], bad: BadRows
) -> tuple[npt.NDArray[np.int64], int, int]:
    """The good rows to keep, in their order, and how many were repeated and superseded.

    Of the rows on one picture by one annotator the latest counts. Rows that say the same as it are repeated,
    others superseded; where the latest ones differ, they are bad and none is kept.
    """
    good = bad.good()
    if not len(good):
        return good, 0, 0
    annotator = _codes([said.annotators[row] for row in good])
    key = _codes([said.names[row] for row in good]) * (int(annotator.max()) + 1) + annotator
    order = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.diff(key[order], prepend=-1))
    sizes = np.diff(starts, append=len(order))
    dropped: list[int] = []
    repeated = superseded = 0
    for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True):
        group = [int(good[place]) for place in order[start : start + size]]
        last = max(said.moment(row) for row in group)
        latest = [row for row in group if said.moment(row) == last]
        if len({said.value(row) for row in latest}) > 1:
            _add_contradictions(said, latest, lines, bad)
            superseded += len(group) - len(latest)
            dropped += group
            continue
        kept, others = latest[0], [row for row in group if row != latest[0]]
        same = sum(said.value(row) == said.value(kept) for row in others)
        repeated += same
        superseded += len(others) - same
        dropped += others
    return np.setdiff1d(good, np.array(dropped, dtype=np.int64)), repeated, superseded


def _add_contradictions(said: Statements, rows: list[int], lines: Sequence[int], bad: BadRows) -> None:
    for row in rows:
        other = next(one for one in rows if said.value(one) != said.value(row))
        who = f" by {said.annotators[row]!r}" if said.annotators[row] else ""
        scores = f"{said.scores[row]:g}{who}, but {said.scores[other]:g}"
        detail = f"{said.names[row]!r} is scored {scores} {on_row(bad.file, lines[other])}"
        bad.add(row, Reason.CONTRADICTS, detail)


def _codes(values: Sequence[str]) -> npt.NDArray[np.int64]:
    """A number for each different text."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)
