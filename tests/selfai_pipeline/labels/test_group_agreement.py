"""Two groups of annotators: what each sees, what both see, and how far that is the same."""

from typing import Any

import numpy as np
import pytest

from selfai_pipeline.labels.group_agreement import LEAST_PICTURES, group_agreement


def two_groups(
    *, shared: float, noise: float = 1.0, pictures: int = 1500, annotators: int = 12, a_group: int = 3
) -> dict[str, Any]:
    """Agreement of groups whose true scores (variance 1) correlate by `shared`; one scores 0.5 lower."""
    generator = np.random.default_rng(3)
    common, own = generator.normal(size=pictures), generator.normal(size=(2, pictures))
    truth = np.sqrt(shared) * common + np.sqrt(1 - shared) * own
    columns = []
    for code in (0, 1):
        who = [generator.choice(annotators, a_group, replace=False) for _ in range(pictures)]
        picture = np.repeat(np.arange(pictures), a_group)
        rating = truth[code, picture] + noise * generator.normal(size=len(picture)) - 0.5 * code
        columns.append(
            (picture, np.concatenate(who) + annotators * code, rating, np.full(len(picture), code))
        )
    picture, annotator, rating, group = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    return group_agreement(picture, annotator, rating, group=group, names=["east", "west"])


@pytest.mark.parametrize("shared", [0.4, 0.8, 1.0])
def test_what_two_groups_share_is_found_behind_the_noise(shared: float) -> None:
    found = two_groups(shared=shared)
    (pair,) = found["pairs"]
    for one in found["groups"]:
        assert one["two_raters_correlation"] == pytest.approx(1 / 2, abs=0.03)
    assert pair["two_raters_correlation"] == pytest.approx(shared / 2, abs=0.04)
    assert pair["correlation_of_true_scores"] == pytest.approx(shared, abs=0.05)
    # Means of three ratings with noise as large as the truth.
    assert pair["correlation_of_means"] == pytest.approx(shared / (1 + 1 / 3), abs=0.04)
    assert pair["mean_difference"] == pytest.approx(0.5, abs=0.05)
    assert (pair["groups"], pair["pictures"], pair["reason"]) == (["east", "west"], 1500, None)


def test_a_group_of_one_annotator_shows_nothing_of_them() -> None:
    picture = np.tile(np.arange(60), 3)
    annotator = np.repeat([0, 1, 2], 60)
    rating = np.random.default_rng(0).normal(size=180)
    group = np.repeat([0, 0, 1], 60)
    found = group_agreement(picture, annotator, rating, group=group, names=["pair", "alone"])
    assert found["groups"][1]["two_raters_correlation"] is None
    assert found["groups"][1]["reason"] == "it has one annotator"
    assert found["pairs"][0]["reason"] == "one of them has one annotator"
    assert found["pairs"][0]["mean_difference"] is None


def test_too_few_shared_pictures_say_so() -> None:
    picture = np.concatenate([np.tile(np.arange(40), 2), np.tile(np.arange(30, 70), 2)])
    annotator, group = np.repeat(np.arange(4), 40), np.repeat([0, 1], 80)
    rating = np.random.default_rng(0).normal(size=160)
    (pair,) = group_agreement(picture, annotator, rating, group=group, names=["a", "b"])["pairs"]
    assert pair["correlation_of_true_scores"] is None
    assert pair["reason"] == f"they share 10 pictures, where {LEAST_PICTURES} are needed"


def test_a_group_without_agreement_of_its_own_has_no_true_scores() -> None:
    up = np.linspace(0, 9, 30)
    rating = np.concatenate([up, up, up, 9 - up])
    found = group_agreement(
        np.tile(np.arange(30), 4),
        np.repeat(np.arange(4), 30),
        rating,
        group=np.repeat([0, 1], 60),
        names=["agrees", "contradicts itself"],
    )
    assert found["groups"][0]["two_raters_correlation"] == pytest.approx(1)
    assert found["pairs"][0]["reason"] == "one of them does not agree with itself"


def test_ratings_of_unknown_groups_do_not_count() -> None:
    picture, annotator = np.tile(np.arange(40), 4), np.repeat(np.arange(4), 40)
    rating = np.random.default_rng(1).normal(size=160)
    group = np.repeat([0, 0, -1, -1], 40)
    found = group_agreement(picture, annotator, rating, group=group, names=["a"])
    assert found["pairs"] == []
    assert [one["ratings"] for one in found["groups"]] == [80]
