"""Charts: the same numbers give the same bytes, odd numbers give a chart all the same, nothing is loaded."""

import re
import xml.etree.ElementTree as ElementTree

import cv2
import matplotlib
import numpy as np
import pytest

from selfai_pipeline.evaluation.plots import (
    calibration_svg,
    class_balance_svg,
    curve_png,
    learning_curve_svg,
    residuals_svg,
    scatter_svg,
    score_distribution_svg,
)

HISTORY = [{"loss": 1 / epoch, "validation_pearson": 1 - 1 / epoch} for epoch in (1, 2, 3)]


def every_chart() -> dict[str, bytes]:
    generator = np.random.default_rng(0)
    annotated = generator.uniform(0, 9, 40)
    predicted = annotated + generator.normal(0, 1, 40)
    classes = np.rint(annotated).astype(np.int64)
    return {
        "scatter": scatter_svg(annotated, predicted),
        "distribution": score_distribution_svg({"train": classes, "test": classes[:3]}),
        "balance": class_balance_svg(classes, np.full(40, 1 / 40)),
        "calibration": calibration_svg(
            [
                {"predicted": 2.0, "annotated": {"value": 2.5, "low": 2.1, "high": 3.0}},
                {"predicted": 6.0, "annotated": {"value": 5.5, "low": None, "high": None}},
            ]
        ),
        "residuals": residuals_svg(classes, predicted - annotated),
        "learning": learning_curve_svg(
            HISTORY,
            upper={"loss": "loss"},
            lower={"validation_pearson": "validation"},
            lower_label="Pearson",
            events=[(2, "wider conv13")],
        ),
    }


def test_charts_are_repeatable_svg_that_asks_for_nothing_from_elsewhere() -> None:
    first = every_chart()

    assert every_chart() == first
    for content in first.values():
        assert ElementTree.fromstring(content).tag.endswith("svg")
        addresses = re.findall(rb'(?:href|src)="([^"]*)"', content)
        assert all(address.startswith((b"#", b"data:")) for address in addresses)
        assert b"<script" not in content


def test_many_faces_make_no_large_page() -> None:
    generator = np.random.default_rng(0)
    annotated = generator.uniform(0, 9, 3001)
    predicted = annotated + generator.normal(0, 1, 3001)
    scatter = scatter_svg(annotated, predicted)
    assert len(scatter) + len(residuals_svg(np.rint(annotated).astype(np.int64), predicted)) < 700_000
    assert b"image/png" in scatter


def test_drawing_leaves_the_style_of_other_charts_alone() -> None:
    before = matplotlib.rcParams["font.size"], matplotlib.rcParams["text.parse_math"]
    every_chart()

    assert (matplotlib.rcParams["font.size"], matplotlib.rcParams["text.parse_math"]) == before


@pytest.mark.parametrize("faces", [1, 2, 12])
def test_faces_that_are_all_alike_still_give_a_chart(faces: int) -> None:
    scores = np.full(faces, 4.0)

    assert scatter_svg(scores, scores).startswith(b"<?xml")
    assert residuals_svg(np.full(faces, 4), scores - scores).startswith(b"<?xml")


def test_a_training_without_a_measure_or_with_one_epoch_still_gives_a_chart() -> None:
    content = learning_curve_svg(
        [{"loss": 0.5}], upper={"loss": "loss"}, lower={}, lower_label="Pearson", events=[]
    )

    assert content.startswith(b"<?xml")


def test_names_with_dollar_signs_are_text_and_not_mathematics() -> None:
    content = learning_curve_svg(
        HISTORY, upper={"loss": "$broken^{"}, lower={}, lower_label="", events=[(1, "$x_{")]
    )

    assert content.startswith(b"<?xml")


def test_the_small_curve_is_a_png_also_of_an_empty_history() -> None:
    for history in (HISTORY, []):
        content = curve_png(history, ["loss", "validation_pearson"])
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)

        assert picture is not None
        assert picture.shape[1] > picture.shape[0]
    assert curve_png(HISTORY, ["loss"]) == curve_png(HISTORY, ["loss"])
