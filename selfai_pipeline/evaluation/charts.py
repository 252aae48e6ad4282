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
from selfai_pipeline.evaluation.words import count, number
from selfai_pipeline.training.provenance import Stage

STAGE_TITLES = {"siamese_checkpoint": "Siamese pre-training", "finetuned_scorer": "Fine-tuning on the scores"}
LOSSES = {"loss": "training", "validation_loss": "validation"}
CORRELATIONS = {"validation_pearson": "model", "probe_pearson": "linear probe on the embeddings"}
"""Keys of a training history that the learning curves show, and their names."""


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
            "Training draws by the weights of the label table, so that common scores do not drown rare ones.",
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
    recorded = {key for epoch in stage.history for key in epoch}
    losses = {key: name for key, name in LOSSES.items() if key in recorded}
    correlations = {key: name for key, name in CORRELATIONS.items() if key in recorded}
    grown = [(int(event["epoch"]), str(event["operator"])) for event in stage.growth]
    growth = "; ".join(f"{operator} after epoch {epoch}" for epoch, operator in grown)
    last = stage.history[-1]
    figures = [f"{name} loss {number(last[key], 3)}" for key, name in losses.items() if key in last]
    figures += [
        f"Pearson of the {name} {number(last[key], 3)}" for key, name in correlations.items() if key in last
    ]
    best = stage.record.get("metrics", {}).get("best_epoch")
    return Chart(
        STAGE_TITLES.get(stage.ref.asset, stage.ref.asset),
        _svg(
            learning_curve_svg(
                stage.history,
                upper=losses,
                lower=correlations,
                lower_label="Pearson on validation",
                events=grown,
            )
        ),
        f"Line chart over {count(len(stage.history), 'epoch')}; at the end: {', '.join(figures)}. "
        + (f"Net2Net growth: {growth}." if grown else "The network did not grow."),
        (f"Kept: epoch {best:.0f}, the best on the validation split. " if best is not None else "")
        + (f"Dotted lines: Net2Net grew the network ({growth})." if grown else ""),
    )


def _counts(classes: Rows) -> str:
    found = np.unique(classes, return_counts=True)
    return ", ".join(f"{faces} in class {group}" for group, faces in zip(*found, strict=True))


def _svg(content: bytes) -> str:
    return data_address(content, "image/svg+xml")
