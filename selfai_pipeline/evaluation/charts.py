"""The charts of the report with their titles, and in words what they show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from selfai_pipeline.evaluation.correlation import Reals
from selfai_pipeline.evaluation.galleries import Rows
from selfai_pipeline.evaluation.images import data_address
from selfai_pipeline.evaluation.plots import (
    SPLIT_STYLES,
    class_balance_svg,
    learning_curve_svg,
    residuals_svg,
    scatter_svg,
    score_distribution_svg,
)
from selfai_pipeline.evaluation.provenance import Stage
from selfai_pipeline.evaluation.words import count, number

STAGE_TITLES = {"siamese_checkpoint": "Siamese pre-training", "finetuned_scorer": "Fine-tuning on the scores"}


@dataclass(frozen=True)
class Chart:
    """A picture with a title; `alternative` says what it shows, `note` how to read it."""

    title: str
    address: str
    alternative: str
    note: str = ""


@dataclass(frozen=True)
class Charts:
    """The charts of one report, in the order of the page."""

    scatter: Chart
    residuals: Chart
    distribution: Chart
    balance: Chart
    learning: list[Chart]


def charts_of(
    faces: Sequence[Mapping[str, Any]], labels: Mapping[str, Sequence[Any]], *, stages: Sequence[Stage]
) -> Charts:
    """The charts of an evaluation.

    Args:
        faces: rows of the evaluation table, in the order of the label table.
        labels: columns score, class, split, weight of the label table.
        stages: the chain of checkpoints, for the learning curves.
    """
    annotated = np.array([face["score"] for face in faces], np.float64)
    predicted = np.array([face["predicted"] for face in faces], np.float64)
    classes = np.array(labels["class"], np.int64)
    splits = np.array(labels["split"])
    by_split = {split: classes[splits == split] for split in SPLIT_STYLES}
    train = splits == "train"
    return Charts(
        scatter=Chart(
            "Score by the model against score by the crowd",
            _svg(scatter_svg(annotated, predicted)),
            f"Scatter chart of {count(len(faces), 'test face')}: the crowd's scores run from "
            f"{number(annotated.min(), 1)} to {number(annotated.max(), 1)} points, the model's from "
            f"{number(predicted.min(), 1)} to {number(predicted.max(), 1)}.",
            "One dot a test face; on the dashed line both agree. Bright dots lie where faces are dense.",
        ),
        residuals=_residuals(by_split["test"], predicted - annotated),
        distribution=Chart(
            "Scores in each split",
            _svg(score_distribution_svg(by_split)),
            "Line chart of the share of faces by score class. "
            + " ".join(f"{split}: {_counts(found)}." for split, found in by_split.items() if len(found)),
            "A split whose line runs elsewhere is measured on other faces than the model was trained on.",
        ),
        balance=Chart(
            "Class balance of training, before and after",
            _svg(class_balance_svg(classes[train], np.array(labels["weight"], np.float64)[train])),
            "Bar chart of the training faces by score class, and of the draws of training by score class. "
            f"Faces: {_counts(classes[train])}.",
            "Training draws a class first and then a face of it, so that common scores do not drown "
            "rare ones.",
        ),
        learning=[_learning(stage) for stage in stages if stage.history],
    )


def _residuals(classes: Rows, residuals: Reals) -> Chart:
    means = ", ".join(
        f"class {group} {number(float(residuals[classes == group].mean()), 1, signed=True)}"
        for group in np.unique(classes)
    )
    return Chart(
        "Error by score class",
        _svg(residuals_svg(classes, residuals)),
        f"Box chart of model minus crowd by score class; means in points: {means}.",
        "Boxes above the line: the model scores these faces higher than the crowd does. A fall from left to "
        "right is usual: a cautious model stays nearer to the middle than the crowd.",
    )


def _learning(stage: Stage) -> Chart:
    keys = sorted({key for epoch in stage.history for key in epoch})
    losses = {key: key.replace("_", " ") for key in keys if key.endswith("loss")}
    correlations = {key: key.replace("_", " ") for key in keys if key.endswith("pearson")}
    events = {int(event["epoch"]): growth_in_words(event) for event in stage.growth}
    last = stage.history[-1]
    figures = ", ".join(
        f"{name} {number(float(last[key]), 3)}" for key, name in {**losses, **correlations}.items()
    )
    grown = "; ".join(f"{name} after epoch {epoch}" for epoch, name in events.items())
    return Chart(
        STAGE_TITLES.get(stage.ref.asset, stage.ref.asset),
        _svg(
            learning_curve_svg(
                stage.history,
                upper=losses,
                lower=correlations,
                lower_label="Pearson on validation",
                events=events,
            )
        ),
        f"Line chart over {count(len(stage.history), 'epoch')}; at the end: {figures}. "
        + (f"Net2Net growth: {grown}." if grown else "The network did not grow."),
        f"Dotted lines: Net2Net grew the network ({grown})." if grown else "",
    )


def growth_in_words(event: Mapping[str, Any]) -> str:
    """A Net2Net event in a few letters, such as `wider conv13`."""
    return " ".join(str(event[key]) for key in ("operator", "layer") if key in event)


def _counts(classes: Rows) -> str:
    found = np.unique(classes, return_counts=True)
    return ", ".join(f"{faces} in class {group}" for group, faces in zip(*found, strict=True))


def _svg(content: bytes) -> str:
    return data_address(content, "image/svg+xml")
