"""What the training stages share: MLflow tags, figures of a record, and the checks of any checkpoint."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import dagster as dg

from assets.common import number, picture, verdict
from resources.instance import is_alive
from resources.tracking import TrackedRun, Tracking
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

    Its tags lead to the Dagster run, the asset and the hashes of the versions it read; the tables among these
    are its datasets. Runs that a killed process left open are closed first.
    """
    asset = context.asset_key.to_user_string()
    hashes = {f"input.{snapshot.asset}": ", ".join(snapshot.hashes.values()) for snapshot in inputs}
    tags = {RUN_TAG: context.run.run_id, ASSET_TAG: asset, **hashes}
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


def learning_figures(record: Mapping[str, Any], *, mlflow_url: str, curve: str) -> dict[str, Any]:
    """Metrics, growth events, the learning curve as a plot, and the link to the MLflow run."""
    from selfai_pipeline.evaluation.plots import curve_png

    return {
        **figures_of(record),
        "growth": dg.MetadataValue.json(record.get("growth", [])),
        "curve": picture(curve_png(record["history"], ["loss", curve])),
        "mlflow_run": dg.MetadataValue.url(mlflow_url),
    }


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
