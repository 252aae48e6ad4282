"""Charts of what changes with the number of training faces and with the crawl day."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from selfai_pipeline.plotting import BLUE, GREEN, ORANGE, VERMILION, drawing, svg_of

LEAST_RANGE = 0.2
"""Of a measure's median: without it the axis would make a landslide of a change in the third digit."""


def training_size_svg(
    faces: Sequence[int], pearson: Sequence[Mapping[str, Any]], *, ceiling: float | None
) -> bytes:
    """Pearson with its interval against the number of training faces, on a logarithmic axis.

    Args:
        faces: training faces, increasing.
        pearson: an `Estimate` as a mapping for each; one without a value is left out.
        ceiling: noise ceiling of the test faces, where it is known.
    """
    with drawing(4.8, 3.2) as figure:
        axes = figure.add_subplot()
        kept = [(count, one) for count, one in zip(faces, pearson, strict=True) if one["value"] is not None]
        places = [count for count, _ in kept]
        if ceiling is not None:
            axes.axhline(ceiling, color=VERMILION, linewidth=1, linestyle="--", label="noise ceiling")
        axes.plot(places, [one["value"] for _, one in kept], color=BLUE, marker="o", label="whole method")
        for count, one in kept:
            if one["low"] is not None:
                axes.vlines(count, one["low"], one["high"], color=BLUE, linewidth=1.4)
        axes.set_xscale("log")
        axes.set_xticks(places, [f"{count:,}" for count in places])
        axes.minorticks_off()
        axes.set_xlabel("training faces")
        axes.set_ylabel("Pearson on the test faces")
        axes.legend(loc="lower right")
        return svg_of(figure)


def drift_svg(
    days: Sequence[str],
    model: Sequence[float | None],
    deviation: Sequence[float | None],
    crowd: Sequence[float | None],
    quality: Mapping[str, Sequence[float | None]],
) -> bytes:
    """Scores by crawl day above, with the spread of single faces, and a row below for each quality measure.

    Args:
        days: names of the days, in their order.
        model, deviation, crowd: mean and standard deviation of the model's scores, and mean of the crowd's,
            points, a value a day where there is one.
        quality: label with its unit -> a value a day where there is one.
    """
    places = np.arange(len(days))
    with drawing(4.8, 2.6 + 1.25 * len(quality)) as figure:
        rows = figure.subplots(
            1 + len(quality), 1, sharex=True, squeeze=False, height_ratios=[2.2, *(1 for _ in quality)]
        )[:, 0]
        middle, spread = (np.array(values, np.float64) for values in (model, deviation))
        rows[0].fill_between(
            places, middle - spread, middle + spread, color=BLUE, alpha=0.15, linewidth=0, label="faces, 1 SD"
        )
        marker = "" if len(days) > 40 else "o"
        rows[0].plot(places, middle, color=BLUE, marker=marker, label="model")
        rows[0].plot(places, np.array(crowd, np.float64), color=ORANGE, marker=marker and "s", label="crowd")
        rows[0].set_ylabel("score (points)")
        figure.legend(loc="outside upper center", ncols=3)
        for axes, (label, values) in zip(rows[1:], quality.items(), strict=True):
            axes.plot(places, np.array(values, np.float64), color=GREEN, marker=marker)
            axes.set_title(label, fontsize=8, loc="left", pad=2)
            _show_at_least(axes, values)
        step = max(1, -(-len(days) // 5))
        rows[-1].set_xticks(places[::step], list(days[::step]))
        rows[-1].set_xlim(-0.5, max(len(days) - 0.5, 0.5))
        rows[-1].set_xlabel("crawl day")
        return svg_of(figure)


def _show_at_least(axes: Axes, values: Sequence[float | None]) -> None:
    """Widen the vertical axis to `LEAST_RANGE` of the median of the values."""
    known = [value for value in values if value is not None]
    if known:
        low, high = axes.get_ylim()
        missing = LEAST_RANGE * abs(float(np.median(known))) - (high - low)
        if missing > 0:
            axes.set_ylim(low - missing / 2, high + missing / 2)
