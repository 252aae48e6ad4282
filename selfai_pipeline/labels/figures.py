"""What the page of `balanced_label_table` shows: agreement, groups, splits, and the plot of distributions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from selfai_pipeline.labels.agreement_facts import MEASURES
from selfai_pipeline.labels.splits import Split
from selfai_pipeline.plotting import BLUE, GREEN, ORANGE, drawing, png_of
from selfai_pipeline.schemas import CLASSES, SCORE_MAXIMUM, SCORE_MINIMUM
from selfai_pipeline.storage import replace_file
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef

Line = dict[str, str | int | float]

BINS = 18
"""Of half a point each."""

_COLOURS = {Split.TRAIN: BLUE, Split.VALIDATION: ORANGE, Split.TEST: GREEN}


def agreement_lines(facts: Mapping[str, Any]) -> list[Line]:
    """A line a figure of agreement: its name, what it compares, and its value or why there is none."""
    figures = [(name, words, facts[name], facts[f"{name}_reason"]) for name, words in MEASURES.items()]
    ceiling = "the most that a model can correlate with these scores"
    figures += [
        ("reliability", "share of the scores' variance that is no error", facts["reliability"], ""),
        ("noise_ceiling", ceiling, facts["noise_ceiling"], facts["noise_ceiling_reason"]),
    ]
    return [
        {
            "figure": name,
            "compares": words,
            "value": "not known" if value is None else f"{value:.3f}",
            "because": "" if value is not None else str(reason or facts["noise_ceiling_reason"]),
        }
        for name, words, value, reason in figures
    ]


def group_lines(facts: Mapping[str, Any]) -> list[Line]:
    """A line a group of annotators and a line two of them; none where no groups are known."""
    found = facts.get("agreement_by_group")
    if not found:
        return []
    lines: list[Line] = [
        {
            "groups": one["group"],
            "pictures": one["pictures"],
            "annotators": str(one["annotators"]),
            "two annotators": _figure(one["two_raters_correlation"]),
            "true scores": "",
            "scores higher by": "",
            "because": one["reason"] or "",
        }
        for one in found["groups"]
    ]
    lines += [
        {
            "groups": " and ".join(one["groups"]),
            "pictures": one["pictures"],
            "annotators": "",
            "two annotators": _figure(one["two_raters_correlation"]),
            "true scores": _figure(one["correlation_of_true_scores"]),
            "scores higher by": _figure(one["mean_difference"]),
            "because": one["reason"] or "",
        }
        for one in found["pairs"]
    ]
    return lines


def split_lines(labels: TableRef, *, store: Store) -> list[Line]:
    """A line a split that has faces: how many and of how many clusters, and how their scores are spread."""
    table = store.tables.read(labels, ["score", "split", "cluster"])
    score, split = table["score"].to_numpy(), np.array(table["split"].to_pylist(), dtype=np.str_)
    cluster = np.array(table["cluster"].to_pylist(), dtype=np.str_)
    lines: list[Line] = []
    for side in Split:
        mine = score[split == side]
        if not len(mine):
            continue
        lines.append(
            {
                "split": str(side),
                "faces": len(mine),
                "clusters": len(np.unique(cluster[split == side])),
                "mean": round(float(mine.mean()), 2),
                "standard deviation": round(float(mine.std()), 2),
                **{
                    name: round(float(np.quantile(mine, share)), 2)
                    for name, share in (("5 %", 0.05), ("median", 0.5), ("95 %", 0.95))
                },
            }
        )
    return lines


def write_distributions(labels: TableRef, *, store: Store, path: Path) -> None:
    """Write a plot (.png): scores in each split, and training by class before and after balance."""
    replace_file(path, distributions_png(labels, store=store))


def distributions_png(labels: TableRef, *, store: Store) -> bytes:
    """The plot of `write_distributions`; the same table gives the same bytes."""
    table = store.tables.read(labels, ["score", "class", "split", "weight"])
    score, split = table["score"].to_numpy(), np.array(table["split"].to_pylist(), dtype=np.str_)
    train = split == Split.TRAIN
    classes, weight = table["class"].to_numpy()[train], table["weight"].to_numpy()[train]
    edges = np.linspace(SCORE_MINIMUM, SCORE_MAXIMUM, BINS + 1)
    with drawing(9.6, 3.4) as figure:
        scores, balance = figure.subplots(1, 2)
        for side, colour in _COLOURS.items():
            mine = score[split == side]
            share = np.histogram(mine, edges)[0] / max(1, len(mine))
            scores.stairs(share, edges, color=colour, linewidth=1.6, label=f"{side} ({len(mine)} faces)")
        scores.set_xlabel("score by the crowd (points)")
        scores.set_ylabel("share of the split's faces")
        scores.legend(loc="upper left")
        places = np.arange(CLASSES)
        before = np.bincount(classes, minlength=CLASSES) / max(1, len(classes))
        after = np.bincount(classes, weight, minlength=CLASSES)
        balance.bar(places - 0.2, before, width=0.4, color=BLUE, label="before: faces")
        balance.bar(places + 0.2, after, width=0.4, color=ORANGE, label="after: draws", hatch="//")
        balance.set_xticks(places)
        balance.set_xlabel("score class")
        balance.set_ylabel("share in training")
        balance.legend(loc="upper left")
        return png_of(figure)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
