"""Split-conformal intervals: how far from a score the crowd's own lies, for a stated share of faces.

The half width is a quantile of |predicted - annotated| on calibration faces that the weights were not fitted
to. With n of them, the value of rank ceil((n + 1) * coverage) covers a further face of the same kind with at
least that probability, whatever the network and the distribution (Vovk et al. 2005, Algorithmic Learning in a
Random World; Lei et al. 2018, JASA 113, theorem 2.2). The promise is over all faces together, not within a
group.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from selfai_pipeline.errors import InputError, UndefinedMetric
from selfai_pipeline.schemas import SCORE_MAXIMUM, SCORE_MINIMUM

Reals = npt.NDArray[np.float64]

COVERAGES = (0.5, 0.8, 0.9, 0.95)
"""Shares of faces that intervals are calibrated for."""

COVERAGE = 0.9
"""The one that is shown with a score."""

RECORD_KEY = "intervals"
"""Where a scorer's record keeps its intervals."""

NOT_CALIBRATED = "the scorer was trained without calibrated intervals: materialize finetuned_scorer again"


@dataclass(frozen=True)
class Level:
    """The half width for one coverage, points; None where there are too few faces, and then the reason."""

    coverage: float
    half_width: float | None
    reason: str = ""


@dataclass(frozen=True)
class Intervals:
    """Calibrated intervals of a scorer.

    Attributes:
        faces: calibration faces, one a cluster of near-duplicates or of one person; 0 where never calibrated.
        levels: in the order of their coverages.
    """

    faces: int
    levels: tuple[Level, ...]

    @classmethod
    def calibrated(
        cls, annotated: npt.ArrayLike, predicted: npt.ArrayLike, *, clusters: Sequence[str]
    ) -> "Intervals":
        """Intervals from calibration faces.

        Faces of one cluster are not independent: the first of each counts (Dunn et al. 2023, JASA 118,
        section 3: subsampling once keeps the promise).

        Args:
            annotated: the crowd's scores, [n].
            predicted: the scorer's, [n]; from weights that were not fitted to these faces.
            clusters: a label a face, [n].

        Raises:
            UndefinedMetric: a score is not finite.
        """
        errors = np.abs(np.asarray(predicted, np.float64) - np.asarray(annotated, np.float64))
        if not np.isfinite(errors).all():
            raise UndefinedMetric("a score is not finite: no intervals can be calibrated")
        _, first = np.unique(np.asarray(clusters, dtype=str), return_index=True)
        kept = errors[first]
        return cls(len(kept), tuple(_level(kept, coverage) for coverage in COVERAGES))

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> "Intervals":
        """Those that a scorer's record keeps; without levels where it was never calibrated.

        Raises:
            InputError: what the record keeps are no intervals.
        """
        kept = record.get(RECORD_KEY)
        if kept is None:
            return cls(0, ())
        try:
            found = cls(int(kept["faces"]), tuple(Level(**level) for level in kept["levels"]))
            sound = found.faces >= 0 and all(map(_is_sound, found.levels))
        except (KeyError, TypeError, ValueError):
            sound = False
        if not sound:
            raise InputError(
                f"`{RECORD_KEY}` are no calibrated intervals",
                where="the scorer's record",
                mend="Materialize finetuned_scorer again.",
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        """JSON values, as a record keeps them."""
        return {"faces": self.faces, "levels": [asdict(level) for level in self.levels]}

    def level(self, coverage: float = COVERAGE) -> Level:
        """The level of a coverage; one that was not calibrated has no half width, and the reason."""
        for level in self.levels:
            if math.isclose(level.coverage, coverage):
                return level
        if not self.levels:
            return Level(coverage, None, NOT_CALIBRATED)
        known = ", ".join(f"{level.coverage:.0%}" for level in self.levels)
        return Level(coverage, None, f"intervals were calibrated for {known}, not for {coverage:.0%}")

    def around(self, scores: npt.ArrayLike, coverage: float = COVERAGE) -> tuple[Reals, Reals]:
        """Lower and upper ends, [n] each, within the scale 0..9, for scores [n].

        Raises:
            UndefinedMetric: there is no half width for this coverage; the message says why.
        """
        level = self.level(coverage)
        if level.half_width is None:
            raise UndefinedMetric(level.reason)
        middle = np.asarray(scores, np.float64)
        low, high = middle - level.half_width, middle + level.half_width
        return np.clip(low, SCORE_MINIMUM, SCORE_MAXIMUM), np.clip(high, SCORE_MINIMUM, SCORE_MAXIMUM)


def conformal_quantile(errors: npt.ArrayLike, coverage: float) -> float:
    """The value of rank ceil((n + 1) * coverage) among n absolute errors.

    Raises:
        UndefinedMetric: n is too small: only an unbounded interval would cover so many faces.
    """
    if not 0 < coverage < 1:
        raise ValueError(f"a coverage lies between 0 and 1, not at {coverage}")
    ordered = np.sort(np.asarray(errors, np.float64))
    # Rounded first: 100 * 0.07 is 7.000000000000001 in floating point, and would ask for rank 8.
    rank = math.ceil(round((len(ordered) + 1) * coverage, 9))
    if rank > len(ordered):
        raise UndefinedMetric(
            f"{least_faces(coverage)} independent calibration faces are needed for an interval that covers "
            f"{coverage:.0%}, here are {len(ordered)}"
        )
    return float(ordered[rank - 1])


def least_faces(coverage: float) -> int:
    """The fewest calibration faces from which an interval of this coverage is bounded."""
    return math.ceil(round(coverage / (1 - coverage), 9))


def _level(errors: Reals, coverage: float) -> Level:
    try:
        return Level(coverage, conformal_quantile(errors, coverage))
    except UndefinedMetric as reason:
        return Level(coverage, None, str(reason))


def _is_sound(level: Level) -> bool:
    width = level.half_width
    return (
        0 < level.coverage < 1
        and (width is None or (math.isfinite(width) and width >= 0))
        and isinstance(level.reason, str)
        and (width is not None or bool(level.reason))
    )
