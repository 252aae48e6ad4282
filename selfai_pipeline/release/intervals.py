"""The intervals of a released scorer: as values for `intervals.json`, and in words for the card."""

from collections.abc import Mapping
from typing import Any

from selfai_pipeline.evaluation.words import count, number, percent

METHOD = (
    "Split-conformal: the half width is a quantile of |model - crowd| on validation faces, which chose the "
    "epoch and were not trained on. The interval of a score is score - half_width to score + half_width, cut "
    "at 0 and 9. The coverage is promised over all faces of the same kind together, not within a group."
)


def interval_values(intervals: Mapping[str, Any]) -> dict[str, Any]:
    """`intervals.json`.

    Args:
        intervals: `faces` and `levels`, as a scorer's record keeps them; empty where it has none.
    """
    return {
        "method": METHOD,
        "calibration_faces": intervals.get("faces", 0),
        "levels": [dict(level) for level in intervals.get("levels", [])],
    }


def interval_words(intervals: Mapping[str, Any]) -> str:
    """The half widths as a sentence, or that there are none."""
    known = [level for level in intervals.get("levels", []) if level["half_width"] is not None]
    if not known:
        reasons = sorted({level["reason"] for level in intervals.get("levels", [])})
        return (
            f"Not known: {reasons[0] if reasons else 'the scorer was trained without calibrated intervals'}. "
            "Take the mean absolute error above for the size of a usual error."
        )
    widths = ", ".join(
        f"±{number(level['half_width'])} points for {percent(level['coverage'])}" for level in known
    )
    return (
        f"The crowd's score lies within {widths} of faces of the same kind (split-conformal, calibrated on "
        f"{count(int(intervals['faces']), 'validation face')}). That holds over all faces together, not "
        "within a group; `intervals.json` has the numbers."
    )
