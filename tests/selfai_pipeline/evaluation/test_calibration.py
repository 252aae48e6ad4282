"""The slope of the crowd's score on the model's, and means by bin."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from selfai_pipeline.evaluation.calibration import calibration_facts
from selfai_pipeline.evaluation.settings import EvaluationSettings

SETTINGS = EvaluationSettings(bootstrap_draws=200)


def facts_of(annotated: np.ndarray, predicted: np.ndarray) -> dict:
    clusters = [str(number) for number in range(len(annotated))]
    return calibration_facts(annotated, predicted, clusters=clusters, settings=SETTINGS)


def test_a_model_that_spreads_too_narrowly_has_a_slope_above_one() -> None:
    generator = np.random.default_rng(0)
    annotated = generator.uniform(0, 9, 120)
    predicted = 4.5 + 0.5 * (annotated - 4.5) + generator.normal(0, 0.2, 120)

    facts = facts_of(annotated, predicted)

    slope = facts["slope"]
    assert slope["value"] == pytest.approx(stats.linregress(predicted, annotated).slope)
    assert slope["low"] > 1.5
    assert [one["faces"] for one in facts["bins"]] == [15] * 8
    assert all(left["predicted"] < right["predicted"] for left, right in pairwise(facts["bins"]))
    assert facts["bins"][0]["annotated"]["value"] < facts["bins"][0]["predicted"] - 1
    assert facts["bins"][-1]["annotated"]["value"] > facts["bins"][-1]["predicted"] + 1
    assert sum(one["faces"] * one["annotated"]["value"] for one in facts["bins"]) == pytest.approx(
        annotated.sum()
    )


def test_equal_scores_stay_in_one_bin_and_have_no_slope() -> None:
    facts = facts_of(np.linspace(1, 8, 60), np.full(60, 4.0))
    assert facts["slope"]["why_no_value"] == "all predicted scores are equal"
    assert [one["faces"] for one in facts["bins"]] == [60]
    assert facts["bins"][0]["predicted"] == 4.0


def test_one_face_is_one_bin_without_an_interval() -> None:
    (only,) = facts_of(np.array([3.0]), np.array([4.0]))["bins"]
    assert only["annotated"]["value"] == 3.0
    assert "too few" in only["annotated"]["why_no_interval"]
