"""Split-conformal intervals: the rank that the theorem asks for, what it promises, and when there is none."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfai_pipeline.errors import InputError, UndefinedMetric
from selfai_pipeline.training.conformal import (
    COVERAGES,
    Intervals,
    Level,
    conformal_quantile,
    least_faces,
)


def calibrated(errors: Any) -> Intervals:
    return Intervals.calibrated(np.zeros(len(errors)), errors, clusters=[str(k) for k in range(len(errors))])


@pytest.mark.parametrize(
    ("faces", "coverage", "rank"), [(9, 0.9, 9), (10, 0.9, 10), (19, 0.9, 18), (19, 0.5, 10), (99, 0.07, 7)]
)
def test_the_half_width_is_the_error_of_the_finite_sample_rank(
    faces: int, coverage: float, rank: int
) -> None:
    errors = np.random.default_rng(faces).permutation(np.arange(1.0, faces + 1))
    assert conformal_quantile(errors, coverage) == rank


@pytest.mark.parametrize(("coverage", "least"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99)])
def test_too_few_faces_have_no_half_width_but_a_sentence(coverage: float, least: int) -> None:
    assert least_faces(coverage) == least
    assert conformal_quantile(np.ones(least), coverage) == 1.0
    sentence = f"{least} independent calibration faces are needed.* {coverage:.0%}, here are {least - 1}"
    with pytest.raises(UndefinedMetric, match=sentence):
        conformal_quantile(np.ones(least - 1), coverage)


@settings(deadline=None, max_examples=200)
@given(
    errors=st.lists(st.floats(0, 9, allow_nan=False), min_size=1, max_size=60),
    coverage=st.floats(0.05, 0.95),
)
def test_each_face_left_out_is_covered_as_often_as_promised(errors: list[float], coverage: float) -> None:
    """The theorem itself: of n + 1 exchangeable faces, calibrated on the n others, that share or more is
    covered. Where the others are too few the interval is unbounded, and covers."""
    covered = 0
    for left_out, error in enumerate(errors):
        others = errors[:left_out] + errors[left_out + 1 :]
        try:
            covered += error <= conformal_quantile(others, coverage)
        except UndefinedMetric:
            covered += 1
    assert covered / len(errors) >= coverage - 1e-9


def test_coverage_on_new_faces_is_about_what_was_asked_for() -> None:
    """Errors that are far from normal; over 300 calibrations of 60 faces the mean coverage of new ones lies
    between the promise and 1 / 61 above it, within the chance of the simulation."""
    generator = np.random.default_rng(4)
    covered = []
    for _ in range(300):
        half_width = conformal_quantile(generator.exponential(1.0, 60), 0.9)
        covered.append(1 - math.exp(-half_width))
    assert 0.9 - 0.01 < float(np.mean(covered)) < 0.9 + 1 / 61 + 0.01


def test_faces_of_one_cluster_count_once() -> None:
    """Ten pictures of one person with a large error each are one face that was predicted badly."""
    errors = [0.1] * 19 + [5.0] * 10
    clusters = [f"person {k}" for k in range(19)] + ["many"] * 10
    found = Intervals.calibrated(np.zeros(29), errors, clusters=clusters)
    assert found.faces == 20
    assert found.level(0.9).half_width == 0.1


def test_intervals_stay_on_the_scale_and_around_the_score() -> None:
    low, high = calibrated(np.full(40, 1.5)).around([-0.5, 0.2, 4.0, 8.9, 11.0])
    assert low.tolist() == pytest.approx([0.0, 0.0, 2.5, 7.4, 9.0])
    assert high.tolist() == pytest.approx([1.0, 1.7, 5.5, 9.0, 9.0])


def test_what_was_not_calibrated_is_a_sentence_never_a_number() -> None:
    few = calibrated([0.3] * 10)
    assert [level.half_width for level in few.levels] == [0.3, 0.3, 0.3, None]
    with pytest.raises(UndefinedMetric, match="19 independent calibration faces are needed"):
        few.around([4.0], 0.95)
    with pytest.raises(UndefinedMetric, match="calibrated for 50%, 80%, 90%, 95%, not for 99%"):
        few.around([4.0], 0.99)
    with pytest.raises(UndefinedMetric, match="trained without calibrated intervals"):
        Intervals.of_record({}).around([4.0])
    with pytest.raises(UndefinedMetric, match="not finite"):
        calibrated([0.1, math.nan])


def test_intervals_read_back_from_a_record() -> None:
    found = calibrated(np.linspace(0, 2, 12))
    assert Intervals.of_record({"intervals": found.to_dict()}) == found
    assert [level.coverage for level in found.levels] == list(COVERAGES)


@pytest.mark.parametrize(
    "kept",
    [
        3,
        {},
        {"faces": 3, "levels": [{"coverage": 0.9}]},
        {"faces": 3, "levels": [{"coverage": 0.9, "half_width": math.nan, "reason": ""}]},
        {"faces": 3, "levels": [{"coverage": 0.9, "half_width": -1.0, "reason": ""}]},
        {"faces": 3, "levels": [{"coverage": 0.9, "half_width": "1", "reason": ""}]},
        {"faces": 3, "levels": [{"coverage": 0.9, "half_width": None, "reason": ""}]},
        {"faces": 3, "levels": [{"coverage": 9, "half_width": 1.0, "reason": ""}]},
        {"faces": -3, "levels": []},
    ],
)
def test_a_record_that_keeps_something_else_is_refused(kept: Any) -> None:
    with pytest.raises(InputError, match="no calibrated intervals"):
        Intervals.of_record({"intervals": kept})


def test_a_level_without_a_half_width_keeps_its_reason() -> None:
    kept = {"faces": 1, "levels": [{"coverage": 0.9, "half_width": None, "reason": "too few"}]}
    assert Intervals.of_record({"intervals": kept}).levels == (Level(0.9, None, "too few"),)
