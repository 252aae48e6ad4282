"""What the faces of a day are like: figures and histograms for the page of `aligned_faces`."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from selfai_pipeline.faces.alignment import Points, fit, placed
from selfai_pipeline.plotting import BLUE, VERMILION, drawing, png_of
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef

MEASURES = {
    "detection_score": "detection score",
    "residual_px": "residual (crop px)",
    "sharpness": "sharpness in the crop",
    "border_fraction": "border (share of the crop)",
    "yaw_degrees": "yaw (degrees)",
    "pitch_degrees": "pitch (degrees)",
    "roll_degrees": "roll (degrees)",
    "eye_distance_px": "eye distance (picture px)",
}
"""Columns that are measured of each face, and their names on the page."""

_QUANTILES = {"least": 0.0, "5 %": 0.05, "median": 0.5, "95 %": 0.95, "greatest": 1.0}
_BINS = 24
_PLACES = {"left": 0.07, "right": 0.99, "bottom": 0.12, "top": 0.91, "hspace": 0.4, "wspace": 0.24}
_COLOURS = 32


def measured(faces: TableRef, *, store: Store) -> list[dict[str, Any]]:
    """The rows of `aligned_faces` that are a face, with what was measured of it and its crop."""
    rows = store.tables.read(faces, ["face", "crop_sha256", "landmarks", *MEASURES]).to_pylist()
    return [row for row in rows if row["face"] >= 0]


def quantiles(rows: list[dict[str, Any]]) -> list[dict[str, str | float]]:
    """A line a measure: its name, and the least, 5 %, median, 95 % and greatest value of `measured` faces."""
    table: list[dict[str, str | float]] = []
    for column, name in MEASURES.items():
        values = _values(rows, column)
        if len(values):
            found = np.quantile(values, list(_QUANTILES.values())).tolist()
            table.append(
                {"measure": name, **dict(zip(_QUANTILES, [round(one, 3) for one in found], strict=True))}
            )
    return table


def histograms_png(rows: list[dict[str, Any]]) -> bytes:
    """A histogram a measure over `measured` faces; those that got no crop stand on top of the others."""
    aligned = [row for row in rows if row["crop_sha256"]]
    refused = [row for row in rows if not row["crop_sha256"]]
    with drawing(9.6, 4.2) as figure:
        # The layout of the other charts is found by drawing them several times.
        figure.set_layout_engine("none")
        charts = figure.subplots(2, 4, gridspec_kw=_PLACES)
        for axes, (column, name) in zip(charts.flat, MEASURES.items(), strict=True):
            axes.hist(
                [_values(aligned, column), _values(refused, column)],
                bins=_BINS,
                stacked=True,
                histtype="stepfilled",
                color=[BLUE, VERMILION],
                label=["with a crop", "refused"],
            )
            axes.set_xlabel(name)
        figure.axes[0].set_ylabel("faces")
        figure.axes[4].set_ylabel("faces")
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="upper center", ncols=2)
        return _in_few_colours(png_of(figure))


def eye_errors(rows: list[dict[str, Any]], *, target: Points) -> npt.NDArray[np.float64]:
    """How far the eyes lie from their places in the template, crop pixels, mean of both; [crops].

    Args:
        rows: `measured` faces; those without a crop are left out.
        target: the template, [5, 2].
    """
    errors = []
    for row in rows:
        if row["crop_sha256"]:
            landmarks = np.array(row["landmarks"]).reshape(5, 2)
            off = placed(landmarks, fit(landmarks, target))[:2] - target[:2]
            errors.append(np.linalg.norm(off, axis=1).mean())
    return np.array(errors, dtype=np.float64)


def _in_few_colours(png: bytes) -> bytes:
    """A plot at a fifth of its size: it goes into the event log, once a day."""
    sink = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        picture.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).save(sink, "PNG", optimize=True)
    return sink.getvalue()


def _values(rows: list[dict[str, Any]], column: str) -> npt.NDArray[np.float64]:
    return np.array([row[column] for row in rows if row[column] is not None], dtype=np.float64)
