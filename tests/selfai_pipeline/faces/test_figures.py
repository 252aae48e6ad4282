"""The figures and histograms of the page."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from selfai_pipeline.faces.alignment import template
from selfai_pipeline.faces.figures import MEASURES, eye_errors, histograms_png, quantiles

TARGET = template(crop_size=224, eye_distance=0.25, eye_height=0.46)


def faces(count: int = 40) -> list[dict[str, Any]]:
    """Every fourth got no crop, and its sharpness could not be measured."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(count):
        refused = number % 4 == 3
        values = {name: float(value) for name, value in zip(MEASURES, rng.random(len(MEASURES)), strict=True)}
        rows.append(
            {
                **values,
                "sharpness": None if refused else values["sharpness"],
                "face": 0,
                "crop_sha256": None if refused else str(number),
                "landmarks": (TARGET * 3 + 100).ravel().tolist(),
            }
        )
    return rows


def test_a_line_a_measure_from_the_least_to_the_greatest() -> None:
    rows = faces()
    table = quantiles(rows)
    assert [line["measure"] for line in table] == list(MEASURES.values())
    for line, column in zip(table, MEASURES, strict=True):
        values = [row[column] for row in rows if row[column] is not None]
        assert line["least"] == pytest.approx(min(values), abs=1e-3)
        assert line["median"] == pytest.approx(np.median(values), abs=1e-3)
        assert line["greatest"] == pytest.approx(max(values), abs=1e-3)


def test_without_faces_there_are_no_lines() -> None:
    assert quantiles([]) == []


@pytest.mark.parametrize("rows", [faces(), faces(1), faces(4)[3:]], ids=["many", "one", "refused ones alone"])
def test_histograms_are_a_picture_that_is_the_same_every_time(rows: list[dict[str, Any]]) -> None:
    content = histograms_png(rows)
    assert content == histograms_png(rows)
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)
    for colour, drawn in (((0, 114, 178), "crop"), ((213, 94, 0), "none")):
        shown = any(("crop" if row["crop_sha256"] else "none") == drawn for row in rows)
        assert (np.abs(pixels - colour).max(axis=1) < 12).any() or not shown


def test_eyes_are_measured_against_the_template_in_crops_alone() -> None:
    rows = faces(4)
    assert eye_errors(rows, target=TARGET) == pytest.approx(np.zeros(3), abs=1e-9)
    wider = TARGET + np.array([[-6, 0], [6, 0], [0, 0], [0, 0], [0, 0]])
    rows[0]["landmarks"] = wider.ravel().tolist()
    (moved, *others) = eye_errors(rows, target=TARGET)
    assert 1 < moved < 6, "the fit takes a part of it"
    assert others == pytest.approx([0, 0], abs=1e-9)
