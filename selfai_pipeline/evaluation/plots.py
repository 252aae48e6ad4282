"""The charts of the report: SVG without scripts or outside fonts, in colours that survive colour blindness.

The same numbers give the same bytes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from scipy.stats import gaussian_kde

from selfai_pipeline.evaluation.correlation import Reals
from selfai_pipeline.evaluation.galleries import Rows
from selfai_pipeline.plotting import BLUE, GREEN, INK, ORANGE, VERMILION, drawing, png_of, svg_of
from selfai_pipeline.schemas import CLASSES, SCORE_MAXIMUM, SCORE_MINIMUM

MANY_DOTS = 3000
"""Above so many the dots are one picture inside the chart: each would take 150 bytes of the page."""

SPLIT_STYLES = {"train": (BLUE, "o"), "validation": (ORANGE, "s"), "test": (GREEN, "^")}


def scatter_svg(annotated: Reals, predicted: Reals) -> bytes:
    """Predicted against annotated scores, [n] each; the colour is the density of faces around a face."""
    with drawing(4.8, 4.4) as figure:
        axes = figure.add_subplot()
        density = _density(annotated, predicted)
        order = np.argsort(density, kind="stable")
        points = axes.scatter(
            annotated[order],
            predicted[order],
            c=density[order],
            cmap="cividis",
            s=16,
            linewidths=0.3,
            edgecolors="#444444",
            rasterized=len(annotated) > MANY_DOTS,
        )
        low = min(SCORE_MINIMUM, float(predicted.min()))
        high = max(SCORE_MAXIMUM, float(predicted.max()))
        axes.plot([low, high], [low, high], color=VERMILION, linewidth=1, linestyle="--", label="equal")
        axes.set(xlim=(low - 0.3, high + 0.3), ylim=(low - 0.3, high + 0.3), aspect="equal")
        axes.set_xlabel("score by the crowd (points, 0 to 9)")
        axes.set_ylabel("score by the model (points)")
        axes.legend(loc="upper left")
        bar = figure.colorbar(points, ax=axes, shrink=0.8, pad=0.02)
        bar.set_label("test faces per square point")
        return svg_of(figure)


def score_distribution_svg(classes: Mapping[str, Rows]) -> bytes:
    """Share of each score class within each split; `classes` maps the split to the classes of its faces."""
    with drawing(4.8, 3.2) as figure:
        axes = figure.add_subplot()
        for split, (colour, marker) in SPLIT_STYLES.items():
            found = classes.get(split)
            if found is not None and len(found):
                share = np.bincount(found, minlength=CLASSES) / len(found)
                axes.plot(
                    range(CLASSES), share, color=colour, marker=marker, label=f"{split} ({len(found)} faces)"
                )
        _class_axis(axes)
        axes.set_ylabel("share of the split's faces")
        figure.legend(loc="outside upper center", ncols=3, columnspacing=1.0)
        return svg_of(figure)


def class_balance_svg(classes: Rows, weights: Reals) -> bytes:
    """Share of the training faces in each class, and share of the draws of training that it gets.

    Args:
        classes: of the training faces, [n].
        weights: probability of a draw, [n].
    """
    before = np.bincount(classes, minlength=CLASSES) / max(1, len(classes))
    after = np.bincount(classes, weights=weights, minlength=CLASSES) / max(float(weights.sum()), 1e-12)
    with drawing(4.8, 3.2) as figure:
        axes = figure.add_subplot()
        places = np.arange(CLASSES)
        axes.bar(places - 0.2, before, width=0.4, color=BLUE, label="before: faces")
        axes.bar(places + 0.2, after, width=0.4, color=ORANGE, label="after: draws in training", hatch="//")
        _class_axis(axes)
        axes.set_ylabel("share in training")
        figure.legend(loc="outside upper center", ncols=2)
        return svg_of(figure)


def learning_curve_svg(
    history: Sequence[Mapping[str, float]],
    *,
    upper: Mapping[str, str],
    lower: Mapping[str, str],
    lower_label: str,
    events: Sequence[tuple[int, str]],
) -> bytes:
    """Losses above, the measure on the validation split below; growth events as dotted lines.

    Args:
        history: one mapping an epoch, in order; a key may be missing in some epochs.
        upper: key -> name in the legend, losses (no unit).
        lower: key -> name in the legend.
        lower_label: label of the lower vertical axis, with its unit.
        events: epoch (from 1) after which something happened, and what; they are numbered in this order, as
            names of neighbours would lie on each other.
    """
    with drawing(4.8, 4.4) as figure:
        rows = [(upper, "loss (no unit)")]
        rows += [(lower, lower_label)] if any(key in epoch for epoch in history for key in lower) else []
        charts = figure.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (keys, label) in zip(charts, rows, strict=True):
            _lines(axes, history, keys)
            axes.set_ylabel(label)
            for place, (epoch, _) in enumerate(events, start=1):
                axes.axvline(epoch + 0.5, color=INK, linewidth=1, linestyle=":")
                if axes is charts[0]:
                    axes.annotate(
                        str(place),
                        (epoch + 0.5, 1.0),
                        xycoords=("data", "axes fraction"),
                        xytext=(0, 3),
                        textcoords="offset points",
                        fontsize=7,
                        ha="center",
                    )
        charts[-1].set_xlabel("epoch")
        charts[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
        charts[-1].set_xlim(0.5, max(len(history), 1) + 0.5)
        return svg_of(figure)


def residuals_svg(classes: Rows, residuals: Reals) -> bytes:
    """Predicted minus annotated by score class: a box a class (median, quartiles, 1.5 IQR) over the faces.

    Args:
        classes: of the test faces, [n].
        residuals: predicted minus annotated, points, [n].
    """
    with drawing(4.8, 3.4) as figure:
        axes = figure.add_subplot()
        present = [number for number in range(CLASSES) if (classes == number).any()]
        axes.axhline(0, color=VERMILION, linewidth=1, linestyle="--")
        jitter = np.random.default_rng(0).uniform(-0.16, 0.16, len(classes))
        axes.scatter(
            classes + jitter,
            residuals,
            s=7,
            color=BLUE,
            alpha=0.5,
            linewidths=0,
            rasterized=len(classes) > MANY_DOTS,
        )
        axes.boxplot(
            [residuals[classes == number] for number in present],
            positions=present,
            widths=0.55,
            showfliers=False,
            manage_ticks=False,
            medianprops={"color": INK, "linewidth": 1.6},
            boxprops={"color": "#555555"},
            whiskerprops={"color": "#555555"},
            capprops={"color": "#555555"},
        )
        _class_axis(axes)
        counts = [int((classes == number).sum()) for number in range(CLASSES)]
        axes.set_xticks(range(CLASSES), [f"{number}\nn {count}" for number, count in enumerate(counts)])
        axes.set_ylabel("model minus crowd (points)")
        return svg_of(figure)


def calibration_svg(bins: Sequence[Mapping[str, Any]]) -> bytes:
    """Mean score by the crowd, with its interval, against mean score by the model, a dot a bin.

    Args:
        bins: as of `calibration_facts`.
    """
    with drawing(4.8, 4.0) as figure:
        axes = figure.add_subplot()
        model = np.array([one["predicted"] for one in bins])
        crowd = np.array([one["annotated"]["value"] for one in bins])
        low, high = (np.array([one["annotated"][end] for one in bins], np.float64) for end in ("low", "high"))
        known = np.isfinite(low) & np.isfinite(high)
        ends = np.concatenate([model, crowd, low[known], high[known]])
        edges = float(ends.min()) - 0.3, float(ends.max()) + 0.3
        axes.plot(edges, edges, color=VERMILION, linewidth=1, linestyle="--", label="equal")
        axes.vlines(model[known], low[known], high[known], color=BLUE, linewidth=1.4)
        axes.plot(
            model, crowd, color=BLUE, marker="o", linewidth=0.8, label="mean of a bin, with its interval"
        )
        axes.set(xlim=edges, ylim=edges)
        axes.set_xlabel("mean score by the model (points)")
        axes.set_ylabel("mean score by the crowd (points)")
        axes.legend(loc="upper left")
        return svg_of(figure)


def curve_png(history: Sequence[Mapping[str, float]], keys: Sequence[str]) -> bytes:
    """A small chart of figures over the epochs, one panel a key, for places that show PNG only.

    Args:
        history: one mapping an epoch, in order; a key that no epoch has gets an empty panel.
        keys: names of the figures.
    """
    with drawing(3.2 * len(keys), 2.4) as figure:
        for axes, key in zip(figure.subplots(1, len(keys), squeeze=False)[0], keys, strict=True):
            _lines(axes, history, {key: key.replace("_", " ")})
            axes.set_xlabel("epoch")
            axes.set_ylabel(key.replace("_", " "))
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return png_of(figure)


def _lines(axes: Axes, history: Sequence[Mapping[str, float]], keys: Mapping[str, str]) -> None:
    styles = zip(keys.items(), ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (VERMILION, "v")), strict=False)
    for (key, name), (colour, marker) in styles:
        epochs = [number for number, values in enumerate(history, start=1) if key in values]
        if epochs:
            values = [history[number - 1][key] for number in epochs]
            axes.plot(epochs, values, color=colour, marker=marker if len(epochs) < 40 else "", label=name)
    if len(keys) > 1 and axes.lines:
        axes.legend()


def _density(first: Reals, second: Reals) -> Reals:
    """Faces per square point around each face; equal everywhere where a kernel estimate has no value.

    Every so many of a large number of faces stand for all of them: the time grows with their square.
    """
    faces = np.vstack([first, second])
    try:
        found = gaussian_kde(faces[:, :: max(1, len(first) // MANY_DOTS)])(faces)
    except (np.linalg.LinAlgError, ValueError):
        return np.ones(len(first))
    return np.asarray(found * len(first))


def _class_axis(axes: Axes) -> None:
    axes.set_xticks(range(CLASSES))
    axes.set_xlim(-0.6, CLASSES - 0.4)
    axes.set_xlabel("score class (score by the crowd, rounded to points)")
    axes.grid(visible=False, axis="x")
