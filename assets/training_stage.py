"""What the training stages share: MLflow tags, figures of a record, and the checks of any checkpoint."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import dagster as dg

from assets.common import number, picture, verdict
from resources.instance import is_alive
from resources.tracking import NOTE_TAG, TrackedRun, Tracking
from selfai_pipeline.environment import Settings
from selfai_pipeline.lineage.registry import ASSET_TAG, RUN_TAG
from selfai_pipeline.store import Store
from selfai_pipeline.tables import CheckpointRef, Snapshot


@contextmanager
def tracked(
    context: dg.AssetExecutionContext,
    tracking: Tracking,
    settings: Settings,
    *inputs: Snapshot,
    machine: Mapping[str, Any],
) -> Iterator[TrackedRun]:
    """An MLflow run of the asset, with its settings and what it runs on (`machine`) as parameters.

    Its tags lead to the Dagster run, the asset, its code and the versions it read (hashes of tables and
    checkpoints), the tables among these are its datasets, and its description has a link to the Dagster run.
    Runs that a killed process left open are closed first.
    """
    asset, run_id = context.asset_key.to_user_string(), context.run.run_id
    versions = {f"input.{snapshot.asset}": ", ".join(snapshot.hashes.values()) for snapshot in inputs}
    tags = {
        RUN_TAG: run_id,
        ASSET_TAG: asset,
        "code_version": context.assets_def.specs_by_key[context.asset_key].code_version or "",
        NOTE_TAG: f"Trained by [Dagster run {run_id[:8]}]({tracking.dagster_url}/runs/{run_id}).",
        **versions,
    }
    tracking.end_dead_runs(partial(is_alive, context.instance))
    parameters = {
        **settings.model_dump(mode="json"),
        **{f"compute.{name}": machine[name] for name in machine},
    }
    with tracking.run(asset, parameters=parameters, tags=tags) as run:
        run.log_tables(table for snapshot in inputs for table in snapshot.tables.values())
        yield run


def figures_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics of a checkpoint's record as metadata."""
    metrics = record["metrics"].items()
    return {key: number(key, value) for key, value in metrics if isinstance(value, int | float)}


def ran_on(machine: Mapping[str, Any]) -> dict[str, Any]:
    """What a stage ran on, as metadata."""
    return {"ran_on": dg.MetadataValue.json(dict(machine))}


def learning_figures(record: Mapping[str, Any], *, run: TrackedRun, curve: str) -> dict[str, Any]:
    """Metrics, growth, the learning curve as a plot, how long it took, and the link to the MLflow run.

    The speed is that of the epochs that this process trained: none where it found all of them done.
    """
    from selfai_pipeline.evaluation.plots import curve_png

    # a stage without a plan of its own has its parent's growth in its record, and other epochs
    grown = with_speeds(record["growth"], run) if "growth_plan" in record else record["growth"]
    plan = {name: dg.MetadataValue.json(record[name]) for name in ("growth_plan", "moves") if name in record}
    return {
        **figures_of(record),
        "growth": dg.MetadataValue.json(grown),
        **plan,
        "curve": picture(curve_png(record["history"], ["loss", curve])),
        **time_taken(run),
        "mlflow_run": dg.MetadataValue.url(run.url),
    }


def with_speeds(growth: Iterable[Mapping[str, Any]], run: TrackedRun) -> list[dict[str, Any]]:
    """Growth events with the pictures/s of the epochs before and after, where this process trained them."""
    speeds = {
        epoch: figures["pictures_per_second"]
        for epoch, figures in run.epochs.items()
        if "pictures_per_second" in figures
    }
    sides = {"pictures_per_second_before": 0, "pictures_per_second_after": 1}
    return [
        {
            **event,
            **{
                name: round(speeds[event["epoch"] + later], 1)
                for name, later in sides.items()
                if event["epoch"] + later in speeds
            },
        }
        for event in growth
    ]


def time_taken(run: TrackedRun) -> dict[str, Any]:
    """`seconds` of all epochs, and the mean `pictures_per_second` of those that this process trained."""
    seconds = sum(figures["seconds"] for figures in run.epochs.values())
    key = "pictures_per_second"
    speeds = [figures[key] for figures in run.epochs.values() if key in figures]
    mean = {key: number(key, sum(speeds) / len(speeds))} if speeds else {}
    return {"seconds": number("seconds", seconds), **mean}


def checkpoint_verdicts(
    asset: str, ref: CheckpointRef, store: Store, floor: Callable[[], dg.AssetCheckResult]
) -> list[dg.AssetCheckResult]:
    """Completeness and sanity of a checkpoint, from its files, and its quality floor.

    Args:
        floor: measures the quality floor; a checkpoint that is not sound fails it without a measurement.
    """
    from selfai_pipeline.training.soundness import condition_of

    condition = condition_of(ref, store=store)
    parameters = condition.parameters
    text = condition.problem or "reads back, every byte as it was written"
    results = [
        verdict(asset, "completeness", not condition.problem, text, parameters=parameters),
        verdict(asset, "sanity", condition.finite, "all weights are finite" if condition.finite else text),
    ]
    if all(result.passed for result in results):
        return [*results, floor()]
    text = "the checkpoint cannot be measured: see the other checks"
    return [*results, verdict(asset, "quality_floor", False, text)]
