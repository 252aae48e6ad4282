import pytest

from selfai_pipeline.training.growth import StallRule, plan_outcome


def stalls(losses, *, patience=2, tolerance=0.01):
    rule, memory = StallRule(patience, tolerance), {}
    return [rule.update(memory, loss) for loss in losses]


def test_progress_is_no_stall():
    assert stalls([1.0, 0.9, 0.8, 0.7]) == [False] * 4


def test_training_stalls_after_as_many_epochs_without_enough_progress():
    assert stalls([1.0, 0.995, 0.992, 0.991]) == [False, False, True, True]
    assert stalls([1.0, 1.2, 0.98, 1.0, 1.0], patience=2) == [False, False, False, False, True]


def test_small_steps_count_once_they_add_up():
    assert stalls([1.0, 0.993, 0.986, 0.979], tolerance=0.01) == [False, False, False, False]


def test_a_loss_of_zero_stalls_instead_of_dividing():
    assert stalls([0.0, 0.0, 0.0]) == [False, False, True]


def test_the_memory_is_plain_json():
    rule, memory = StallRule(2, 0.01), {}
    rule.update(memory, 0.5)
    assert memory == {"lowest": 0.5, "waited": 0}


@pytest.mark.parametrize("patience", [1, 3])
def test_patience_counts_epochs(patience):
    assert stalls([1.0] * 5, patience=patience).index(True) == patience


def test_the_outcome_of_a_plan_names_what_did_not_happen(caplog):
    plan = ["wider conv1 2", "deeper conv1", "wider conv2 2"]
    with caplog.at_level("WARNING", logger="selfai.training"):
        outcome = plan_outcome(plan, [{"operator": plan[0], "epoch": 4}])
    assert outcome == [
        {"operator": "wider conv1 2", "happened": True, "epoch": 4},
        {"operator": "deeper conv1", "happened": False, "epoch": None},
        {"operator": "wider conv2 2", "happened": False, "epoch": None},
    ]
    assert "`deeper conv1`, `wider conv2 2` did not happen" in caplog.text


def test_a_plan_that_was_carried_out_warns_of_nothing(caplog):
    assert [entry["epoch"] for entry in plan_outcome(["deeper conv1"], [{"epoch": 2}])] == [2]
    assert plan_outcome([], []) == []
    assert caplog.text == ""
