"""The look of every chart, and how one is drawn: on its own figure, without pyplot's global state."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, VERMILION, INK = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#222222"
"""Blue to vermilion: Okabe and Ito, Color Universal Design."""

STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E6E8EB",
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.0,
    "svg.fonttype": "path",
    "svg.hashsalt": "selfai",
    "text.parse_math": False,
}


@contextmanager
def drawing(width: float, height: float) -> Iterator[Figure]:
    """A figure of `width` by `height` inches in the style of every chart."""
    with matplotlib.rc_context(STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def png_of(figure: Figure) -> bytes:
    """A figure as PNG; the same numbers give the same bytes."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110, metadata={"Software": None})
    return content.getvalue()


def svg_of(figure: Figure) -> bytes:
    """A figure as SVG; the same numbers give the same bytes."""
    content = io.BytesIO()
    figure.savefig(content, format="svg", dpi=200, metadata={"Date": None, "Creator": None})
    return content.getvalue()
