"""Two scorers on the same faces: the sign, the sharpness and the groups of their differences."""

import numpy as np
import pytest

from selfai_pipeline.evaluation.bootstrap import estimate
from selfai_pipeline.evaluation.correlation import weighted_mean_absolute_error, weighted_pearson
from selfai_pipeline.evaluation.paired import compare_scorers, paired_difference
from selfai_pipeline.evaluation.settings import EvaluationSettings
from selfai_pipeline.training.metrics import pearson

SETTINGS = EvaluationSettings(bootstrap_draws=400, subgroup_least_faces=15)


def scorers(faces: int = 120, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The crowd's scores, those of a better and of a worse scorer that err on the same faces."""
    generator = np.random.default_rng(seed)
    truth = generator.uniform(0.5, 8.5, faces)
    shared = generator.normal(0, 0.8, faces)
    better, worse = (truth + shared + generator.normal(0, noise, faces) for noise in (0.2, 0.6))
    return truth, better, worse


def names(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def test_the_difference_is_that_of_the_two_figures_and_sharper_than_they_suggest() -> None:
    truth, better, worse = scorers()

    found = paired_difference(weighted_pearson, truth, better, worse, correlation=True, settings=SETTINGS)

    assert found.value == pytest.approx(pearson(truth, better) - pearson(truth, worse))
    assert found.low is not None
    assert found.high is not None
    assert 0 < found.low < found.high
    widths = []
    for scores in (better, worse):
        alone = estimate(weighted_pearson, truth, scores, correlation=True, settings=SETTINGS)
        assert alone.low is not None
        assert alone.high is not None
        widths.append(alone.high - alone.low)
    assert found.high - found.low < 0.8 * np.hypot(*widths), "two samples of faces would give this"


def test_a_scorer_does_not_differ_from_itself() -> None:
    truth, better, _ = scorers()
    found = paired_difference(weighted_pearson, truth, better, better, correlation=True, settings=SETTINGS)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_exchanging_the_two_turns_the_sign() -> None:
    truth, better, worse = scorers()
    one, other = (
        paired_difference(weighted_mean_absolute_error, truth, *pair, settings=SETTINGS)
        for pair in ((better, worse), (worse, better))
    )
    assert one.value is not None
    assert one.value < 0
    assert (other.value, other.low, other.high) == pytest.approx(
        tuple(-end for end in (one.value, one.high, one.low) if end is not None), abs=0.02
    )


@pytest.mark.parametrize("flat", ["candidate", "champion"])
def test_a_scorer_that_gives_all_one_score_has_no_difference_of_correlations(flat: str) -> None:
    truth, better, _ = scorers()
    constant = np.full(len(truth), 4.0)
    pair = (constant, better) if flat == "candidate" else (better, constant)
    found = compare_scorers(truth, *pair, groups=[None] * 120, clusters=names(120), settings=SETTINGS)
    assert found.pearson.value is None
    assert found.pearson.why_no_value == "all predicted scores are equal"
    assert found.mean_absolute_error.value is not None


def test_each_group_is_compared_on_its_own_and_small_ones_are_counted() -> None:
    truth, better, worse = scorers()
    groups = ["north"] * 60 + ["south"] * 50 + ["few"] * 6 + [None] * 4
    candidate = np.where(np.arange(120) < 60, better, worse)
    champion = np.where(np.arange(120) < 60, worse, better)

    found = compare_scorers(truth, candidate, champion, groups=groups, clusters=names(120), settings=SETTINGS)

    north, south = found.groups
    assert (north.group, north.faces, south.group, south.faces) == ("north", 60, "south", 50)
    assert north.pearson.value == pytest.approx(
        pearson(truth[:60], better[:60]) - pearson(truth[:60], worse[:60])
    )
    assert south.pearson.high is not None
    assert south.pearson.high < 0, "worse in the south is seen, though the mean hides it"
    assert (found.faces, found.clusters) == (120, 120)
    assert (found.small_groups, found.small_groups_faces) == (1, 6)
    assert found.to_dict()["groups"][0]["pearson"]["value"] == north.pearson.value


def test_pictures_of_one_person_are_drawn_together() -> None:
    truth, better, worse = scorers(40)
    four = [np.repeat(scores, 4) for scores in (truth, better, worse)]
    people = [str(number) for number in np.repeat(np.arange(40), 4)]
    found = compare_scorers(*four, groups=[None] * 160, clusters=people, settings=SETTINGS)
    careless = compare_scorers(*four, groups=[None] * 160, clusters=names(160), settings=SETTINGS)
    width, narrow = (one.pearson.high - one.pearson.low for one in (found, careless))
    assert narrow < 0.7 * width


def test_scores_of_other_faces_are_refused() -> None:
    truth, better, worse = scorers()
    with pytest.raises(ValueError, match="shapes"):
        compare_scorers(
            truth, better, worse[:-1], groups=[None] * 120, clusters=names(120), settings=SETTINGS
        )
