"""What a training stage shows beside its checkpoint."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from assets.training_stage import learning_figures
from resources.tracking import TrackedRun

GROWN = {"operator": "wider conv13 1.25", "epoch": 2, "loss_before": 0.4, "loss_after": 0.4}
RECORD = {
    "metrics": {"parameters": 9},
    "history": [{"epoch": float(epoch), "loss": 0.5, "validation_loss": 0.5} for epoch in (1, 2, 3)],
    "growth": [GROWN],
}
PLAN = [{"operator": "wider conv13 1.25", "happened": True, "epoch": 2}]


def run_of(*epochs: dict[str, float]) -> TrackedRun:
    client = cast(Any, SimpleNamespace(log_batch=lambda run_id, metrics: None))
    run = TrackedRun(client, "r-1", "http://127.0.0.1:5000/#/runs/r-1")
    for number, figures in enumerate(epochs, 1):
        run.report(number, figures)
    return run


def trained(speed: float) -> dict[str, float]:
    return {"loss": 0.5, "seconds": 2.0, "pictures_per_second": speed}


FOUND_DONE = {"loss": 0.5, "seconds": 2.0}


def figures(record: dict[str, Any], run: TrackedRun) -> dict[str, Any]:
    shown = learning_figures(record, run=run, curve="validation_loss")
    return {name: getattr(value, "value", value) for name, value in shown.items()}


def test_growth_shows_the_speed_of_the_epochs_before_and_after() -> None:
    found = figures({**RECORD, "growth_plan": PLAN}, run_of(trained(90.0), trained(100.0), trained(80.0)))
    speeds = {"pictures_per_second_before": 100.0, "pictures_per_second_after": 80.0}
    assert found["growth"] == [{**GROWN, **speeds}]
    assert found["growth_plan"] == PLAN
    assert found["seconds"] == 6.0
    assert found["pictures_per_second"] == pytest.approx(90.0)


def test_epochs_that_were_found_done_have_a_duration_and_no_speed() -> None:
    found = figures({**RECORD, "growth_plan": PLAN}, run_of(FOUND_DONE, FOUND_DONE, trained(80.0)))
    assert found["growth"] == [{**GROWN, "pictures_per_second_after": 80.0}]
    assert found["seconds"] == 6.0
    assert "pictures_per_second" not in figures(RECORD, run_of(FOUND_DONE))


def test_growth_of_the_stage_before_is_not_given_the_speed_of_this_one() -> None:
    found = figures(RECORD, run_of(trained(90.0), trained(100.0), trained(80.0)))
    assert found["growth"] == [GROWN]


def test_a_run_that_went_on_elsewhere_shows_where() -> None:
    moves = [{"after_epoch": 2, "before": {"threads": 2}, "now": {"threads": 1}}]
    assert figures({**RECORD, "moves": moves}, run_of(FOUND_DONE))["moves"] == moves
    assert "moves" not in figures(RECORD, run_of(FOUND_DONE))
