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
    calibration_svg,
    class_balance_svg,
    learning_curve_svg,
    residuals_svg,
    scatter_svg,
    score_distribution_svg,
)
from selfai_pipeline.evaluation.trends import drift_svg, training_size_svg
from selfai_pipeline.evaluation.words import count, number
from selfai_pipeline.training.provenance import Stage
from selfai_pipeline.training.settings import Pairing

STAGE_TITLES = {"siamese_checkpoint": "Siamese pre-training", "finetuned_scorer": "Fine-tuning on the scores"}
LOSSES = {"loss": "training", "validation_loss": "validation"}
CORRELATIONS = {"validation_pearson": "model", "probe_pearson": "linear probe on the embeddings"}
"""Keys of a training history that the learning curves show, and their names."""
UNLIKE_LOSSES = (
    "The two losses do not compare: most of a loss on ranks is the logarithm of how many faces it is taken "
    "over, in training those of a batch, in validation all."
)


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
    calibration: Chart
    distribution: Chart
    balance: Chart
    learning: list[Chart]


def charts_of(
    faces: Sequence[Mapping[str, Any]],
    labels: Mapping[str, Sequence[Any]],
    *,
    stages: Sequence[Stage],
    calibration: Mapping[str, Any],
) -> Charts:
    """The charts of an evaluation.

    Args:
        faces: rows of the evaluation table, in the order of the label table.
        labels: columns score, class, split, weight of the label table.
        stages: the chain of checkpoints, for the learning curves.
        calibration: of the facts of the evaluation table.
    """
    annotated = np.array([face["score"] for face in faces], np.float64)
    predicted = np.array([face["predicted"] for face in faces], np.float64)
    classes = np.array(labels["class"], np.int64)
    splits = np.array(labels["split"])
    by_split = {split: classes[splits == split] for split in SPLIT_STYLES}
    train = splits == "train"
    # Of a record from before the setting: the weights as they are in the table.
    power = float((stages[-1].record.get("settings") or {}).get("balance_power", 1.0))
    draws = np.array(labels["weight"], np.float64)[train] ** power
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
        calibration=_calibration(calibration),
        distribution=Chart(
            "Scores in each split",
            _svg(score_distribution_svg(by_split)),
            "Line chart of the share of faces by score class. "
            + " ".join(f"{split}: {_counts(found)}." for split, found in by_split.items() if len(found)),
            "A split whose line runs elsewhere is measured on other faces than the model was trained on.",
        ),
        balance=Chart(
            "Class balance of training, before and after",
            _svg(class_balance_svg(classes[train], draws)),
            "Bar chart of the training faces by score class, and of the draws of fine-tuning by score class. "
            f"Faces: {_counts(classes[train])}.",
            "Fine-tuning draws rare scores more often than there are faces of them, so that common ones do "
            "not drown them."
            if power
            else "Fine-tuning draws every face equally often.",
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


def _calibration(facts: Mapping[str, Any]) -> Chart:
    bins = facts["bins"]
    means = "; ".join(
        f"model {number(one['predicted'], 1)}, crowd {number(one['annotated']['value'], 1)}" for one in bins
    )
    return Chart(
        "Calibration",
        _svg(calibration_svg(bins)),
        f"Line chart of the crowd's mean score against the model's in {count(len(bins), 'bin')} of faces "
        f"that the model scores alike, in points: {means}.",
        "Faces in bins of about equal number, by the model's score. Dots above the dashed line: the crowd "
        "scores these faces higher than the model says, on average.",
    )


def training_size_chart(sizes: Sequence[Mapping[str, Any]], *, ceiling: float | None) -> Chart | None:
    """The curve over shares of the training faces (see `ablations.training_size`); None below two points."""
    known = [one for one in sizes if one["pearson"]["value"] is not None]
    if len(known) < 2:
        return None
    points = ", ".join(f"{number(one['pearson']['value'], 3)} with {one['faces']:,} faces" for one in known)
    return Chart(
        "Correlation against training faces",
        _svg(
            training_size_svg(
                [one["faces"] for one in known], [one["pearson"] for one in known], ceiling=ceiling
            )
        ),
        f"Line chart of the correlation on the test faces by the number of training faces: {points}."
        + (f" The noise ceiling is {number(ceiling, 3)}." if ceiling is not None else ""),
        "Each point is the whole method, trained on a part of the faces with as many steps; a smaller part "
        "lies inside the larger ones. Bars are intervals over the choice of test faces.",
    )


def drift_chart(days: Sequence[Mapping[str, Any]], *, measures: Mapping[str, str]) -> Chart | None:
    """Scores and quality by crawl day (see `drift`); None without days on which faces were scored."""
    scored = [day for day in days if day["mean"] is not None]
    if not scored:
        return None
    quality = {
        label: [day["quality"].get(name) for day in days]
        for name, label in measures.items()
        if any(name in day["quality"] for day in days)
    }
    lowest, highest = (f(scored, key=lambda day: float(day["mean"])) for f in (min, max))
    words = (
        f"lowest on {lowest['day']} with {number(lowest['mean'], 1)} points, highest on {highest['day']} "
        f"with {number(highest['mean'], 1)}"
    )
    return Chart(
        "Scores and quality by crawl day",
        _svg(
            drift_svg(
                [day["day"] for day in days],
                [day["mean"] for day in days],
                [day["deviation"] for day in days],
                [day["crowd"] for day in days],
                quality,
            )
        ),
        f"Line charts over {count(len(days), 'crawl day')}: the model's mean score, {words}; the crowd's "
        f"mean score where faces were rated; and the medians of {', '.join(quality) or 'no measure'}.",
        "The band is where most single faces lie (one standard deviation). Quality is the median of a day.",
    )


def _learning(stage: Stage) -> Chart:
    recorded = {key for epoch in stage.history for key in epoch}
    losses = {key: name for key, name in LOSSES.items() if key in recorded}
    correlations = {key: name for key, name in CORRELATIONS.items() if key in recorded}
    grown = [(int(event["epoch"]), str(event["operator"])) for event in stage.growth]
    growth = "; ".join(
        f"{place}: {operator} after epoch {epoch}" for place, (epoch, operator) in enumerate(grown, start=1)
    )
    last = stage.history[-1]
    figures = [f"{name} loss {number(last[key], 3)}" for key, name in losses.items() if key in last]
    figures += [
        f"Pearson of the {name} {number(last[key], 3)}" for key, name in correlations.items() if key in last
    ]
    best = stage.record.get("metrics", {}).get("best_epoch")
    kept = f"Kept: epoch {best:.0f}, the best on the validation split." if best is not None else ""
    dotted = f"Dotted lines: Net2Net grew the network ({growth})." if grown else ""
    of_ranks = stage.record.get("settings", {}).get("pairing") == Pairing.RANK_N_CONTRAST
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
        " ".join(filter(None, [kept, dotted, UNLIKE_LOSSES if of_ranks else ""])),
    )


def _counts(classes: Rows) -> str:
    found = np.unique(classes, return_counts=True)
    return ", ".join(f"{faces} in class {group}" for group, faces in zip(*found, strict=True))


def _svg(content: bytes) -> str:
    return data_address(content, "image/svg+xml")
