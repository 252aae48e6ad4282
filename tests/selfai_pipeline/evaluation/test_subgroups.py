"""Figures by subgroup, and groups too small to say anything about."""

import numpy as np
import pytest

from selfai_pipeline.evaluation.settings import EvaluationSettings
from selfai_pipeline.evaluation.subgroups import subgroups
from selfai_pipeline.training.conformal import Intervals, Level
from selfai_pipeline.training.metrics import pearson

SETTINGS = EvaluationSettings(bootstrap_draws=200, subgroup_least_faces=10)
INTERVALS = Intervals(20, (Level(0.9, 1.5),))


def test_each_group_has_its_own_correlation_and_bias() -> None:
    generator = np.random.default_rng(0)
    annotated = generator.uniform(0, 9, 60)
    groups: list[str | None] = ["left"] * 30 + ["right"] * 30
    predicted = annotated + generator.normal(0, 0.5, 60) + np.repeat([0.0, 2.0], 30)

    found = subgroups(
        annotated,
        predicted,
        groups,
        clusters=[str(k) for k in range(60)],
        intervals=INTERVALS,
        settings=SETTINGS,
    )

    left, right = found.shown
    assert (left.group, right.group) == ("left", "right")
    assert right.pearson.value == pytest.approx(pearson(annotated[30:], predicted[30:]))
    assert left.bias.low is not None
    assert left.bias.high is not None
    assert left.bias.low < 0 < left.bias.high
    assert right.bias.low is not None
    assert right.bias.low > 1
    assert right.mean_absolute_error.value == pytest.approx(np.abs(predicted - annotated)[30:].mean())
    assert (left.covered.value, right.covered.value) == pytest.approx((1.0, 0.2), abs=0.2)


def test_small_groups_and_faces_without_one_are_counted_not_judged() -> None:
    groups: list[str | None] = ["large"] * 12 + ["small"] * 3 + ["tiny"] + [None] * 2 + [""]
    scores = np.linspace(1, 8, len(groups))

    found = subgroups(
        scores, scores, groups, clusters=[str(k) for k in range(19)], intervals=INTERVALS, settings=SETTINGS
    )

    assert [one.group for one in found.shown] == ["large"]
    assert (found.small_groups, found.small_groups_faces, found.ungrouped_faces) == (2, 4, 3)


def test_a_group_scored_all_alike_has_a_bias_and_no_correlation() -> None:
    scores = np.full(12, 4.0)

    (one,) = subgroups(
        scores,
        scores + 1,
        ["g"] * 12,
        clusters=[str(k) for k in range(12)],
        intervals=INTERVALS,
        settings=SETTINGS,
    ).shown

    assert one.pearson.why_no_value == "all annotated scores are equal"
    assert one.bias.value == pytest.approx(1.0)
