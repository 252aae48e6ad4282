"""Coverage of the intervals on test faces: how often, for whom, and in words where there is none."""

import numpy as np
import pytest
from scipy import stats

from selfai_pipeline.evaluation.coverage import coverage_facts, share_covered
from selfai_pipeline.evaluation.settings import EvaluationSettings
from selfai_pipeline.training.conformal import NOT_CALIBRATED, Intervals, Level

SETTINGS = EvaluationSettings(bootstrap_draws=200)
ONE_POINT = Intervals(40, (Level(0.8, 0.5), Level(0.9, 1.0), Level(0.95, None, "too few faces")))


def names(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def test_faces_within_the_half_width_are_covered() -> None:
    predicted = np.linspace(2, 7, 30)
    off = np.where(np.arange(30) % 5 == 0, 1.2, 0.7)

    facts = coverage_facts(
        predicted + off, predicted, intervals=ONE_POINT, clusters=names(30), settings=SETTINGS
    )

    assert (facts["coverage"], facts["faces"], facts["reason"]) == (0.9, 40, "")
    assert [level["covered"]["value"] for level in facts["levels"]] == [0.0, 0.8, None]
    assert [level["mean_width"] for level in facts["levels"]] == pytest.approx([1.0, 2.0, None])
    assert facts["levels"][2]["covered"]["why_no_value"] == "too few faces"
    assert [(part["part"], part["faces"]) for part in facts["by_score"]] == [
        ("low", 10),
        ("middle", 10),
        ("high", 10),
    ]
    assert [part["covered"]["value"] for part in facts["by_score"]] == [0.8, 0.8, 0.8]
    assert facts["by_score"][0]["lowest"] == 2.0
    assert facts["by_score"][2]["highest"] == 7.0


def test_the_interval_of_a_share_is_wilsons_over_independent_faces() -> None:
    inside = np.arange(40) % 8 > 0
    found = share_covered(inside, np.array(names(40)), reason="", settings=SETTINGS)
    theirs = stats.binomtest(35, 40).proportion_ci(0.95, method="wilson")
    assert (found.value, found.low, found.high) == pytest.approx((0.875, theirs.low, theirs.high))
    four_times = share_covered(np.repeat(inside, 4), np.repeat(names(40), 4), reason="", settings=SETTINGS)
    assert four_times == found, "copies of a face are no further evidence"


def test_all_faces_covered_is_no_proof_that_all_will_be() -> None:
    found = share_covered(np.ones(30, bool), np.array(names(30)), reason="", settings=SETTINGS)
    assert found.high == 1.0
    assert found.low is not None
    assert found.low < 0.9


def test_without_intervals_or_with_few_faces_the_reason_is_given() -> None:
    scores = np.linspace(1, 8, 4)
    none = coverage_facts(scores, scores, intervals=Intervals(0, ()), clusters=names(4), settings=SETTINGS)
    assert none == {
        "coverage": 0.9,
        "reason": NOT_CALIBRATED,
        "faces": 0,
        "levels": [],
        "by_score": [],
    }
    few = coverage_facts(scores, scores, intervals=ONE_POINT, clusters=names(4), settings=SETTINGS)
    covered = few["levels"][1]["covered"]
    assert covered["value"] == 1.0
    assert covered["low"] is None
    assert "4 independent faces are too few" in covered["why_no_interval"]
    assert sum(part["faces"] for part in few["by_score"]) == 4


def test_calibrated_intervals_cover_new_faces_as_promised() -> None:
    """The whole way, 100 times: calibrated on 80 faces, measured on 200 others of the same kind."""
    generator = np.random.default_rng(1)
    covered = []
    for _ in range(100):
        truth = generator.uniform(0, 9, 280)
        guess = truth + generator.standard_t(4, 280)
        intervals = Intervals.calibrated(truth[:80], guess[:80], clusters=names(80))
        facts = coverage_facts(
            truth[80:], guess[80:], intervals=intervals, clusters=names(200), settings=SETTINGS
        )
        covered.append([level["covered"]["value"] for level in facts["levels"]])
    mean = np.mean(covered, axis=0)
    for share, promised in zip(mean, (0.5, 0.8, 0.9, 0.95), strict=True):
        assert promised - 0.012 < share < promised + 1 / 81 + 0.012
