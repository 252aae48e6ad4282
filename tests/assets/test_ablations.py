"""The arms as partitions, backfilled and compared on drawn discs; every check can fail."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import dagster as dg
import pytest

from assets.ablation_report import ablation_report_checks
from assets.ablation_run import ablation_run_checks, arm_verdicts
from assets.graph import ALL_ASSETS
from resources.environments import resources_for
from selfai_pipeline.environment import Environment
from selfai_pipeline.errors import InputError
from selfai_pipeline.evaluation.ablations import runs
from selfai_pipeline.evaluation.ablations.arms import ARMS
from selfai_pipeline.evaluation.ablations.outcome import Outcome, State, write_outcomes
from selfai_pipeline.evaluation.ablations.page import page_of
from selfai_pipeline.home import Home
from selfai_pipeline.store import Store
from selfai_pipeline.tables import CheckpointRef, Record, TableRef

SPLITS = ["train", "train", "validation", "train", "test", "train"] * 20
QUICK: Mapping[str, Any] = {
    "seeds": [0, 1],
    "siamese": {"epochs": 3, "input_size": 32, "width": 0.12, "batch_size": 16, "least_steps": 4},
    "widening": {"factor": 1.5, "probe_pictures": 2},
    "fine_tuning": {"epochs": 3, "least_steps": 4},
    "evaluation": {"bootstrap_draws": 200},
}


@pytest.fixture
def run(home: Home, table_of: Callable[..., TableRef]) -> Callable[..., dg.ExecuteInProcessResult]:
    """Materializes an arm, or the comparison, with its checks."""
    Store.open(home).tables.point(Record(table_of(SPLITS), code_version="1", settings={}, inputs={}))

    def materialize(asset: str, arm: str | None = None, **config: Any) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [*ALL_ASSETS, ablation_run_checks, ablation_report_checks],
            selection=dg.AssetSelection.assets(asset),
            resources=resources_for(Environment.SAMPLE, home),
            run_config={"ops": {asset: {"config": config}}},
            partition_key=arm,
            raise_on_error=False,
        )

    return materialize


def failed(result: dg.ExecuteInProcessResult) -> Sequence[str]:
    return [one.check_name for one in result.get_asset_check_evaluations() if not one.passed]


@pytest.mark.slow
def test_arms_are_materialized_one_by_one_and_compared(run: Any, home: Home) -> None:
    for arm in ("scratch", "siamese_net2net", "wide_equal_work"):
        result = run("ablation_run", arm, **QUICK)
        assert result.success
        assert failed(result) == []
        (event,) = result.get_asset_materialization_events()
        assert event.partition == arm
        shown = {"pearson_seed_0", "pearson_seed_1", "noise_ceiling"}
        assert shown <= set(event.materialization.metadata)
    result = run("ablation_report", evaluation={"bootstrap_draws": 200})
    assert result.success
    assert failed(result) == []
    (event,) = result.get_asset_materialization_events()
    shown = event.materialization.metadata
    assert len(shown["arms"].records) == len(ARMS)
    store = Store.open(home)
    ref = store.tables.snapshot("ablation_report").table
    assert shown["report"].value.endswith(f"{ref.sha256}/ablations.html")
    rows = {row["arm"]: row for row in store.tables.read(ref).to_pylist()}
    assert [name for name, row in rows.items() if row["seeds"] == 2] == [
        "scratch",
        "siamese_net2net",
        "wide_equal_work",
    ]
    page_of(ref, store=store).unlink()
    found = dg.materialize(
        [*ALL_ASSETS, ablation_report_checks],
        selection=dg.AssetSelection.checks(ablation_report_checks),
        resources=resources_for(Environment.SAMPLE, home),
        raise_on_error=False,
    )
    assert failed(found) == ["completeness"]


@pytest.mark.slow
def test_a_seed_that_ended_has_its_row_although_a_later_one_fails(
    run: Any, home: Home, errors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = runs.finetune_scorer

    def failing(*args: Any, settings: Any, **more: Any) -> CheckpointRef:
        if settings.seed == 1:
            raise InputError("a crop is no picture", where="balanced_label_table", mend="Align again.")
        return true(*args, settings=settings, **more)

    monkeypatch.setattr(runs, "finetune_scorer", failing)
    result = run("ablation_run", "scratch", **QUICK)
    assert not result.success
    assert "a crop is no picture" in errors(result)
    store = Store.open(home)
    (row,) = store.tables.read(store.tables.snapshot("ablation_run").table).to_pylist()
    assert (row["arm"], row["seed"], row["state"]) == ("scratch", 0, "finished")
    record = store.tables.current("ablation_run", "scratch")
    assert record is not None
    assert list(record.inputs) == ["balanced_label_table"]
    assert record.run_id == result.run_id


def test_an_arm_that_cannot_run_is_a_table_that_says_why(run: Any, home: Home) -> None:
    result = run("ablation_run", "grouped", **QUICK)
    assert result.success
    (row, _) = Store.open(home).tables.read_all(Store.open(home).tables.snapshot("ablation_run")).to_pylist()
    assert row["state"] == "not_run"
    assert "have no group" in row["reason"]
    result = run("ablation_report")
    assert "quality_floor" in failed(result), "no arm has figures"


def test_a_comparison_without_any_arm_says_what_to_do(run: Any, errors: Any) -> None:
    result = run("ablation_report")
    assert not result.success
    assert "Materialize ablation_run first" in errors(result)


FINE = Outcome("scratch", 0, State.FINISHED, pearson=0.5, predicted=[1.0, 2.0], seconds=1.0, operations=1)


@pytest.mark.parametrize(
    ("outcomes", "fails"),
    [
        ([FINE, replace(FINE, seed=1)], set()),
        ([FINE, Outcome("scratch", 1, State.NOT_RUN, "no weights")], set()),
        ([FINE, Outcome("scratch", 1, State.NOT_RUN)], {"completeness"}),
        ([FINE, replace(FINE, seed=1, predicted=[1.0])], {"sanity"}),
        ([replace(FINE, pearson=None)], {"sanity", "quality_floor"}),
        ([FINE, replace(FINE, seed=1, pearson=-0.1)], {"quality_floor"}),
    ],
)
def test_checks_of_an_arm(home: Home, outcomes: list[Outcome], fails: set[str]) -> None:
    store = Store.open(home)
    ref = write_outcomes(outcomes, arm="scratch", store=store, facts={})
    assert {one.check_name for one in arm_verdicts(ref, store) if not one.passed} == fails
