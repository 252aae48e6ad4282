"""Correlation against the number of training faces, from arms that were run for real."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from selfai_pipeline.evaluation.ablations.arms import ARMS, SHARES, WHOLE_METHOD
from selfai_pipeline.evaluation.ablations.outcome import Outcome, State, read_outcomes, write_outcomes
from selfai_pipeline.evaluation.ablations.runs import ArmRuns
from selfai_pipeline.evaluation.ablations.training_size import training_size
from selfai_pipeline.tables import CheckpointRef, Snapshot, TableRef
from selfai_pipeline.training.checkpoints import load_record


@pytest.fixture
def outcomes_of(arm_runs: ArmRuns, faces: TableRef) -> Any:
    """A snapshot of arms whose seeds predict the crowd's scores with more or less noise."""

    def make(
        noise: dict[str, float],
        *,
        labels: str = "",
        seeds: int = 2,
        made_with: dict[str, str] | None = None,
    ) -> Snapshot:
        rows = arm_runs.store.tables.read(faces).to_pylist()
        tested = sorted((row for row in rows if row["split"] == "test"), key=lambda row: row["image_id"])
        truth = np.array([row["score"] for row in tested])
        refs = {}
        for name, spread in noise.items():
            outcomes = []
            for seed in range(seeds):
                predicted = truth + np.random.default_rng(seed).normal(0, spread, len(truth))
                pearson = float(np.corrcoef(truth, predicted)[0, 1])
                done = Outcome(name, seed, State.FINISHED, pearson=pearson, predicted=predicted.tolist())
                outcomes.append(done)
            facts = {"labels": labels or faces.sha256, "made_with": (made_with or {}).get(name, "today")}
            refs[name] = write_outcomes(outcomes, arm=name, store=arm_runs.store, facts=facts)
        return Snapshot(refs)

    return make


def test_the_curve_has_a_point_a_share_with_its_faces_and_seeds(
    arm_runs: ArmRuns, faces: TableRef, outcomes_of: Any
) -> None:
    runs = outcomes_of({"share_8": 4.0, "share_2": 2.0, WHOLE_METHOD: 0.5})
    found = training_size(runs, faces, store=arm_runs.store, settings=arm_runs.settings.evaluation)
    assert [one.share for one in found.sizes] == [0.125, 0.5, 1.0]
    assert found.sizes[-1].faces == 48
    assert found.sizes[0].faces < found.sizes[1].faces < 48
    assert [one.seeds for one in found.sizes] == [2, 2, 2]
    values = [one.pearson.value for one in found.sizes]
    assert values == sorted(values)
    assert all(one.deviation is not None for one in found.sizes)
    assert found.missing == ["share_4"]
    assert found.made_from == runs.hashes
    assert found.last_doubling is not None
    assert found.last_doubling.value == pytest.approx(values[2] - values[1])
    assert found.last_doubling.low is not None


def test_runs_of_other_labels_and_arms_that_were_not_run_are_missing(
    arm_runs: ArmRuns, faces: TableRef, outcomes_of: Any
) -> None:
    settings = arm_runs.settings.evaluation
    every = [*(arm.name for arm in SHARES), WHOLE_METHOD]
    other = outcomes_of({"share_8": 1.0}, labels="f" * 64)
    for runs in (Snapshot({}), other):
        found = training_size(runs, faces, store=arm_runs.store, settings=settings)
        assert found.sizes == []
        assert found.missing == every
        assert found.last_doubling is None


def test_shares_that_were_trained_otherwise_than_all_faces_are_missing(
    arm_runs: ArmRuns, faces: TableRef, outcomes_of: Any
) -> None:
    noise = {"share_4": 1.0, "share_2": 1.0, WHOLE_METHOD: 1.0}
    runs = outcomes_of(noise, made_with={"share_2": "before"})
    found = training_size(runs, faces, store=arm_runs.store, settings=arm_runs.settings.evaluation)
    assert [one.share for one in found.sizes] == [0.25, 1.0]
    assert found.missing == ["share_8", "share_2"]
    assert found.last_doubling is None


def test_the_last_doubling_is_over_seeds_that_both_sizes_have(
    arm_runs: ArmRuns, faces: TableRef, outcomes_of: Any
) -> None:
    runs = outcomes_of({"share_2": 2.0, WHOLE_METHOD: 0.5})
    store, settings = arm_runs.store, arm_runs.settings.evaluation
    first = read_outcomes(runs.tables["share_2"], store=store)[:1]
    facts = store.tables.facts(runs.tables["share_2"])
    one_seed = write_outcomes(first, arm="share_2", store=store, facts=facts)
    found = training_size(Snapshot({**runs.refs, "share_2": one_seed}), faces, store=store, settings=settings)
    whole = read_outcomes(runs.tables[WHOLE_METHOD], store=store)[0]
    assert found.last_doubling is not None
    assert found.last_doubling.value == pytest.approx(whole.pearson - first[0].pearson)


def test_shares_are_trained_with_as_many_steps_on_fewer_faces(arm_runs: ArmRuns) -> None:
    whole = arm_runs.outcome(ARMS[WHOLE_METHOD], 0)
    half = arm_runs.outcome(ARMS["share_2"], 0)
    assert half.state is State.FINISHED
    assert half.faces == whole.faces, "the same test faces"
    assert half.steps == pytest.approx(whole.steps, abs=4), "not half as many"
    learnt_from = [
        load_record(CheckpointRef("finetuned_scorer", "all", one.scorers[0], 0), store=arm_runs.store)["rows"]
        for one in (half, whole)
    ]
    assert 24 <= learnt_from[0] < 24 + 10, "half of them, rounded up in each class"
    assert learnt_from[1] == 48
    assert math.isfinite(half.pearson or math.nan)
    again = replace(arm_runs).outcome(ARMS["share_2"], 0)
    assert again == half, "kept, not trained again"
