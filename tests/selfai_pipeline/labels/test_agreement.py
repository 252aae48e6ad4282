"""Agreement of annotators, and the noise ceiling that follows from it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfai_pipeline.errors import UndefinedMetric
from selfai_pipeline.labels.agreement import (
    ceiling_facts,
    noise_ceiling,
    reliability_of_scores,
    split_half_reliability,
    two_raters_correlation,
)
from selfai_pipeline.labels.bias_equations import Codes, Numbers


def rated(pictures: int, ratings: int, noise: float, seed: int = 0) -> tuple[Codes, Numbers, Numbers]:
    """Pictures of true scores with variance 1, each with so many ratings; also the truth."""
    generator = np.random.default_rng(seed)
    truth = generator.normal(size=pictures)
    picture = np.repeat(np.arange(pictures), ratings)
    return picture, truth[picture] + noise * generator.normal(size=len(picture)), truth


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0])
def test_two_raters_correlate_as_the_variances_say(noise: float) -> None:
    picture, rating, _ = rated(4000, 4, noise)
    assert two_raters_correlation(picture, rating) == pytest.approx(1 / (1 + noise**2), abs=0.03)


def test_two_raters_with_unequal_numbers_of_ratings() -> None:
    picture, rating, _ = rated(4000, 6, 1.0)
    kept = np.random.default_rng(1).random(len(rating)) < 0.5
    _, codes = np.unique(picture[kept], return_inverse=True)
    assert two_raters_correlation(codes, rating[kept]) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("ratings", [2, 4, 10])
def test_split_halves_give_the_reliability_of_the_mean(ratings: int) -> None:
    picture, rating, truth = rated(3000, ratings, 1.0, seed=1)
    expected = 1 / (1 + 1 / ratings)
    assert split_half_reliability(picture, rating) == pytest.approx(expected, abs=0.02)
    means = np.bincount(picture, rating) / ratings
    assert np.corrcoef(means, truth)[0, 1] == pytest.approx(np.sqrt(expected), abs=0.02)


def test_split_halves_do_not_depend_on_the_order_of_the_ratings() -> None:
    picture, rating, _ = rated(50, 4, 1.0)
    once = split_half_reliability(picture, rating, seed=3)
    order = np.random.default_rng(1).permutation(len(rating))
    assert split_half_reliability(picture[order], rating[order], seed=3) == pytest.approx(once, abs=1e-12)
    assert split_half_reliability(picture, rating, seed=4) != pytest.approx(once, abs=1e-6)


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_annotators_who_contradict_each_other_have_no_reliability(noise: float) -> None:
    first = np.linspace(0, 9, 20)
    ratings = np.column_stack([first, 9 - first + noise * np.random.default_rng(2).normal(size=20)])
    with pytest.raises(UndefinedMetric, match=r"do not agree \(r = -\d.*an annotator may be reversed"):
        split_half_reliability(np.repeat(np.arange(20), 2), ratings.ravel())


def test_the_ceiling_of_some_faces_is_that_of_their_scores_alone() -> None:
    score = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    facts = ceiling_facts(score, [0.5, None, 0.5, math.nan, 0.5], has_single_ratings=True)
    assert facts["reliability"] == pytest.approx(1 - 0.25 / 4)
    assert facts["noise_ceiling"] == pytest.approx(facts["reliability"] ** 0.5)
    assert facts["noise_ceiling_reason"] == "from the standard errors of 3 of 5 faces"


@pytest.mark.parametrize(
    ("score", "error", "single", "reason"),
    [
        ([1.0, 2.0], [None, None], True, "no picture has two ratings"),
        ([1.0, 2.0], [math.nan] * 2, False, "only means were given"),
        ([1.0, 2.0], [0.5, None], True, "fewer than two scores"),
        ([2.0, 2.0], [0.5, 0.5], True, "all scores are equal"),
        ([], [], True, "no picture has two ratings"),
    ],
)
def test_a_ceiling_that_cannot_be_known_says_why(
    score: list[float], error: list[float | None], single: bool, reason: str
) -> None:
    facts = ceiling_facts(score, error, has_single_ratings=single)
    assert (facts["reliability"], facts["noise_ceiling"]) == (None, None)
    assert facts["noise_ceiling_reason"].startswith(reason)


def test_the_ceiling_is_what_the_truth_itself_reaches() -> None:
    generator = np.random.default_rng(2)
    truth, error = generator.normal(size=20_000), generator.uniform(0.3, 1.2, 20_000)
    observed = truth + error * generator.normal(size=20_000)
    reliability = reliability_of_scores(observed, error)
    reached = float(np.corrcoef(truth, observed)[0, 1])
    assert noise_ceiling(reliability) == pytest.approx(reached, abs=0.01)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 9), st.floats(0, 5)), min_size=2, max_size=30))
def test_reliability_is_between_0_and_1_or_undefined(pairs: list[tuple[float, float]]) -> None:
    score, error = np.array(pairs).T
    if np.var(score, ddof=1) == 0:
        with pytest.raises(UndefinedMetric):
            reliability_of_scores(score, error)
    else:
        assert 0 <= reliability_of_scores(score, error) <= 1


def test_figures_without_a_value_say_why() -> None:
    once = np.arange(5), np.arange(5, dtype=float)
    with pytest.raises(UndefinedMetric, match="no picture has two ratings"):
        two_raters_correlation(*once)
    with pytest.raises(UndefinedMetric, match="fewer than three pictures"):
        split_half_reliability(*once)
    same = np.repeat(np.arange(5), 2), np.full(10, 4.0)
    with pytest.raises(UndefinedMetric, match="all ratings are equal"):
        two_raters_correlation(*same)
    with pytest.raises(UndefinedMetric, match="same mean"):
        split_half_reliability(*same)
    with pytest.raises(UndefinedMetric, match="fewer than two pictures"):
        two_raters_correlation(np.zeros(4, dtype=np.int64), np.arange(4, dtype=float))
    with pytest.raises(UndefinedMetric, match="all scores are equal"):
        reliability_of_scores(np.full(3, 2.0), np.ones(3))
    with pytest.raises(UndefinedMetric, match="fewer than two scores"):
        reliability_of_scores(np.ones(1), np.ones(1))
