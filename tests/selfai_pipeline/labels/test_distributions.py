"""Splits and versions are compared: what chance explains is no difference, nor is what does not matter."""

import numpy as np
import pytest

from selfai_pipeline.labels.distributions import FEW, Comparison, compare_splits, compare_versions


def names(n: int) -> list[str]:
    return [str(number) for number in range(n)]


def scores(n: int, *, mean: float = 4.5, seed: int = 0) -> np.ndarray:
    return np.clip(np.random.default_rng(seed).normal(mean, 1.4, n), 0, 9)


def split(first: np.ndarray, second: np.ndarray) -> Comparison:
    return compare_splits(first, second, clusters=names(len(first)), other_clusters=names(len(second)))


def test_splits_that_were_drawn_agree() -> None:
    differing = [split(scores(600, seed=seed), scores(200, seed=1000 + seed)).differs for seed in range(200)]
    assert sum(differing) <= 2


def test_a_split_of_other_faces_differs() -> None:
    found = split(scores(600), scores(200, mean=5.5, seed=1))
    assert found.differs
    assert found.distance == pytest.approx(1, abs=0.2)
    assert found.chance is not None
    assert found.chance < 1e-6


def test_what_is_certain_and_small_is_no_difference() -> None:
    found = split(scores(40_000), scores(40_000, mean=4.6, seed=1))
    assert found.chance is not None
    assert found.chance < 0.001
    assert not found.differs


def test_many_pictures_of_few_people_are_few() -> None:
    """Two people fill the test split; by pictures the difference would be certain."""
    test = np.concatenate([np.full(60, 7.5), np.full(60, 7.0)]) + np.linspace(0, 0.1, 120)
    persons = ["ann"] * 60 + ["ben"] * 60
    found = compare_splits(scores(600), test, clusters=names(600), other_clusters=persons)
    assert (found.differs, found.chance) == (False, None)
    assert found.shift is not None
    assert found.shift > 0.8
    assert split(scores(600), test).differs


@pytest.mark.parametrize(("n", "m"), [(FEW - 1, 500), (500, FEW - 1), (0, 0)])
def test_of_few_faces_nothing_is_said(n: int, m: int) -> None:
    nothing = Comparison(False, None, None, None)
    assert split(scores(n), scores(m, mean=8)) == nothing
    assert compare_versions(scores(n), scores(m, mean=8)) == nothing


def test_a_version_that_moved_by_less_than_a_quarter_of_a_point_has_not_drifted() -> None:
    before = scores(5000)
    assert not compare_versions(before + 0.2, before).differs
    drifted = compare_versions(before + 0.3, before)
    assert drifted.differs
    assert drifted.distance == pytest.approx(0.3)
