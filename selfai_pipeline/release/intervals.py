"""The intervals of a released scorer: as values for `intervals.json`, and in words for the card."""

import math
from collections.abc import Mapping
from typing import Any

from selfai_pipeline.evaluation.words import count, interval_in_words, number, percent, value_in_words
from selfai_pipeline.training.conformal import NOT_CALIBRATED

METHOD = (
    "Split-conformal: the half width is a quantile of |model - crowd| on validation faces, which chose the "
    "epoch and were not trained on. The interval of a score is score - half_width to score + half_width, cut "
    "at 0 and 9. The coverage is promised over all faces of the same kind together, not within a group."
)


def interval_values(intervals: Mapping[str, Any], coverage: Mapping[str, Any]) -> dict[str, Any]:
    """`intervals.json`.

    Args:
        intervals: `faces` and `levels`, as a scorer's record keeps them.
        coverage: what the evaluation measured of them; empty where it did not.
    """
    return {
        "method": METHOD,
        "calibration_faces": intervals["faces"],
        "levels": [{**level, "covered_on_test": _covered(level, coverage)} for level in intervals["levels"]],
    }


def interval_words(intervals: Mapping[str, Any], coverage: Mapping[str, Any]) -> str:
    """The half widths and how many test faces they cover, or why there are none."""
    lines = []
    for level in intervals["levels"]:
        if level["half_width"] is None:
            continue
        width = number(level["half_width"])
        text = f"- {percent(level['coverage'])} of faces: score \N{PLUS-MINUS SIGN} {width}"
        measured = _covered(level, coverage)
        if measured and measured["value"] is not None:
            low, high = (None if measured[end] is None else 100 * measured[end] for end in ("low", "high"))
            share = {**measured, "value": 100 * measured["value"], "low": low, "high": high}
            text += (
                f"; of the test faces {value_in_words(share, 0)} % ({interval_in_words(share, 0)}) lie inside"
            )
        lines.append(text)
    if not lines:
        reasons = sorted({level["reason"] for level in intervals["levels"]})
        return (
            f"Not known: {reasons[0] if reasons else NOT_CALIBRATED}. Take the mean absolute error above for "
            "the size of a usual error."
        )
    return (
        "Within these ends the crowd's own score lies, for the stated share of faces of the same kind "
        f"(split-conformal, calibrated on {count(intervals['faces'], 'validation face')}):\n\n"
        + "\n".join(lines)
        + "\n\nThat holds over all faces together, not within a group. `intervals.json` has the numbers."
    )


def _covered(level: Mapping[str, Any], coverage: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The share of test faces that a level covers, as an `Estimate`; None where it was not measured."""
    for one in coverage.get("levels", []):
        if math.isclose(one["coverage"], level["coverage"]):
            found: Mapping[str, Any] = one["covered"]
            return found
    return None
