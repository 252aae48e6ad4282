"""Two scorers on the same faces, which neither has seen; the rule over what was measured."""

import json

import numpy as np
import pytest

from selfai_pipeline.release.comparison import Comparison, compare, compared
from selfai_pipeline.release.decision import decide, finding
from selfai_pipeline.release.settings import PromotionSettings

SETTINGS = PromotionSettings(bootstrap_draws=400, least_faces=10, subgroup_least_faces=10)


def faces(groups=("a", "b"), n=80):
    """Rows with scores spread over the scale, the groups in turn."""
    scores = np.random.default_rng(0).uniform(1, 8, n)
    return [
        {
            "image_id": f"{number:064x}",
            "face": 0,
            "crop_sha256": "0" * 64,
            "score": float(score),
            "cluster": str(number),
            "group": groups[number % len(groups)],
        }
        for number, score in enumerate(scores)
    ]


def noisy(rows, spread, *, seed=1, shift=lambda row: 0.0):
    noise = np.random.default_rng(seed).normal(0, spread, len(rows))
    return np.array([row["score"] + shift(row) for row in rows]) + noise


def measured(rows, candidate, champion, *, settings=SETTINGS):
    hashes = ("1" * 64, "" if champion is None else "2" * 64, "3" * 64)
    return compared(rows, candidate, champion, settings=settings, hashes=hashes)


def held_against(rows, candidate, champion, *, removed=(), settings=SETTINGS):
    comparison = measured(rows, candidate, champion, settings=settings)
    return decide(comparison, removed=removed, settings=settings)


def test_a_better_scorer_passes_and_the_finding_says_by_how_much():
    rows = faces()
    decision = held_against(rows, noisy(rows, 0.5), noisy(rows, 2.0, seed=2))
    assert decision.passes
    assert "on the same 80 test faces, difference +0." in decision.finding
    assert "95 % interval +0." in decision.finding


def test_a_scorer_that_is_as_good_is_not_shown_to_be_better():
    rows = faces()
    decision = held_against(rows, noisy(rows, 1.0), noisy(rows, 1.0, seed=2))
    assert not decision.passes
    assert "not shown to be better: the interval has to lie above 0.00" in decision.text
    assert decision.forbidden == ()


def test_pairing_sees_a_small_difference_that_two_separate_intervals_would_not():
    rows = faces(n=200)
    champion = noisy(rows, 1.0)
    # Nearly the same errors, each a tenth smaller.
    candidate = np.array([row["score"] for row in rows]) + 0.9 * (
        champion - np.array([row["score"] for row in rows])
    )
    comparison = measured(rows, candidate, champion)
    assert comparison.difference.low is not None
    assert 0 < comparison.difference.low < comparison.difference.value < comparison.difference.high < 0.05


def test_a_subgroup_that_becomes_worse_keeps_the_champion_though_the_rest_is_better():
    rows = faces(groups=("a", "a", "a", "b"))
    champion = noisy(rows, 1.5)
    candidate = noisy(rows, 0.3, seed=2)
    inside = np.array([row["group"] == "b" for row in rows])
    candidate[inside] = noisy(rows, 2.0, seed=5)[inside]
    decision = held_against(rows, candidate, champion)
    assert [sentence for sentence in decision.against if "'b' (20 faces) Pearson falls by" in sentence]
    wide = SETTINGS.model_copy(update={"subgroup_margin": 2.0, "subgroup_bias_margin": 9.0})
    assert held_against(rows, candidate, champion, settings=wide).passes


def test_a_bias_that_grows_in_a_subgroup_keeps_the_champion():
    rows = faces()
    champion = noisy(rows, 1.0)
    candidate = noisy(rows, 0.2, seed=2, shift=lambda row: -0.6 if row["group"] == "b" else 0.0)
    decision = held_against(rows, candidate, champion)
    assert [one for one in decision.against if "'b' (40 faces) the bias grows by 0.49 points to" in one]


def test_a_subgroup_with_few_faces_is_not_judged_and_says_so():
    rows = faces(groups=("a",) * 9 + ("b",))
    champion, candidate = noisy(rows, 1.0), noisy(rows, 0.2, seed=2)
    inside = np.array([row["group"] == "b" for row in rows])
    candidate[inside] = 4.0
    comparison = measured(rows, candidate, champion, settings=SETTINGS)
    (few,) = [one for one in comparison.subgroups if one.group == "b"]
    assert few.why_not_judged == "8 faces, 10 are needed"
    assert not any("'b'" in text for text in decide(comparison, removed=(), settings=SETTINGS).against)


def test_a_subgroup_without_a_correlation_is_not_judged_by_it():
    rows = [{**row, "score": 5.0 if row["group"] == "b" else row["score"]} for row in faces()]
    comparison = measured(rows, noisy(rows, 0.2), noisy(rows, 1.0, seed=2), settings=SETTINGS)
    assert {one.group: one.why_not_judged for one in comparison.subgroups} == {
        "a": "",
        "b": "its correlation is not defined",
    }


def test_a_subgroup_that_is_scored_all_alike_keeps_the_champion():
    rows = faces(groups=("a", "a", "a", "b"))
    champion, candidate = noisy(rows, 1.5), noisy(rows, 0.2, seed=2)
    inside = np.array([row["group"] == "b" for row in rows])
    candidate[inside] = np.mean([row["score"] for row in rows if row["group"] == "b"])
    (sentence,) = [one for one in held_against(rows, candidate, champion).against if "subgroup 'b'" in one]
    assert sentence.startswith("In subgroup 'b' (20 faces) Pearson was 0.")
    assert sentence.endswith("and is not defined any more.")


def test_the_bias_of_a_subgroup_is_judged_where_its_correlation_is_not_defined():
    rows = [{**row, "score": 5.0 if row["group"] == "b" else row["score"]} for row in faces()]
    candidate = noisy(rows, 0.2, seed=2, shift=lambda row: 0.6 if row["group"] == "b" else 0.0)
    decision = held_against(rows, candidate, noisy(rows, 1.0))
    assert [one for one in decision.against if "'b' (40 faces) the bias grows by" in one]


def test_removed_data_forbids_what_the_figures_would_allow():
    rows = faces()
    decision = held_against(rows, noisy(rows, 0.5), noisy(rows, 2.0, seed=2), removed=["a picture of 2026"])
    assert not decision.passes
    assert decision.against == ()
    assert decision.forbidden == ("Removed data is in it: a picture of 2026.",)


def test_the_first_champion_has_to_correlate_above_zero():
    rows = faces()
    first = measured(rows, noisy(rows, 1.0), None, settings=SETTINGS)
    assert decide(first, removed=(), settings=SETTINGS).passes
    assert finding(first).startswith("There is no other champion to compare it with. Pearson 0.9")
    with pytest.raises(ValueError, match="the champion has a hash and scores, or neither"):
        compared(rows, noisy(rows, 1.0), None, settings=SETTINGS, hashes=("1" * 64, "2" * 64, "3" * 64))
    chance = measured(rows, np.random.default_rng(3).uniform(0, 9, 80), None, settings=SETTINGS)
    assert "not shown to be above 0.00" in decide(chance, removed=(), settings=SETTINGS).text


def test_a_constant_scorer_and_too_few_faces_are_sentences_and_no_numbers():
    rows = faces()
    constant = held_against(rows, np.full(80, 5.0), noisy(rows, 1.0))
    assert "The correlation is not defined: all predicted scores are equal." in constant.against
    few = held_against(rows[:6], noisy(rows, 0.1)[:6], noisy(rows, 2.0)[:6])
    assert any("6 independent faces are too few, 10 are needed" in text for text in few.against)


def test_a_comparison_survives_json():
    rows = faces()
    comparison = measured(rows, noisy(rows, 0.5), noisy(rows, 2.0, seed=2), settings=SETTINGS)
    again = Comparison.from_facts(json.loads(json.dumps(comparison.to_facts(), allow_nan=False)))
    assert again == comparison


def test_faces_that_the_champion_has_learnt_from_are_left_out_with_their_cluster(world):
    """The champion stands on an earlier split: faces 3 and 4 were in training then, and are tested now.

    Face 110, of the test split both times, is of the same person as face 4.
    """
    champion = world.scorer(fitted_to=20)
    labels = world.label(moved=(3, 4), cluster=lambda number: "4" if number == 110 else str(number))
    candidate = world.scorer(fitted_to=60)
    comparison = compare(
        candidate, champion, labels, store=world.store, settings=world.settings, compute=world.compute
    )
    assert comparison.test_faces == 62
    assert (comparison.seen_by_candidate, comparison.seen_by_champion) == (0, 3)
    assert comparison.faces == len(comparison.rows) == 59
    left_out = {f"{number:064x}" for number in (3, 4, 110)}
    assert left_out.isdisjoint(row["image_id"] for row in comparison.rows)
    assert "Left out: 3 of 62 that the champion has seen in training." in finding(comparison)


def test_where_every_test_face_was_seen_nothing_is_shown(world):
    champion = world.scorer(fitted_to=20)
    labels = world.label({"test": 60, "validation": 40, "train": 40})
    candidate = world.scorer()
    comparison = compare(
        candidate, champion, labels, store=world.store, settings=world.settings, compute=world.compute
    )
    assert comparison.faces == 0
    decision = decide(comparison, removed=(), settings=world.settings)
    assert decision.against == ("The correlation is not defined: there are no faces.",)


@pytest.mark.parametrize("field", ["subgroup_margin", "least_gain"])
def test_the_margins_are_settings_that_the_decision_reads(field):
    rows = faces()
    strict = SETTINGS.model_copy(update={field: 0.9 if field == "least_gain" else 0.0})
    champion = noisy(rows, 0.4, seed=2)
    candidate = noisy(rows, 0.5)
    assert not held_against(rows, candidate, champion, settings=strict).passes
