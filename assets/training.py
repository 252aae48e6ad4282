"""Training: Siamese pre-training grown by Net2Net, widening, fine-tuning."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from assets.common import GPU_TAGS, OWNERS, check_specs, materialized, number, picture, verdict
from resources.compute import Compute
from resources.tracking import Tracking
from selfai_pipeline.environment import for_environment
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, CheckpointRef, Snapshot
from selfai_pipeline.training.settings import FinetuneSettings, SiameseSettings, WidenSettings


class SiameseConfig(for_environment(SiameseSettings), dg.Config):  # type: ignore[misc]
    """Pre-training; each setting can be changed in the Launchpad."""


class WidenConfig(for_environment(WidenSettings), dg.Config):  # type: ignore[misc]
    """Widening; each setting can be changed in the Launchpad."""


class FinetuneConfig(for_environment(FinetuneSettings), dg.Config):  # type: ignore[misc]
    """Fine-tuning; each setting can be changed in the Launchpad."""


def _tags(context: dg.AssetExecutionContext, *inputs: Snapshot) -> dict[str, str]:
    hashes = {f"input.{snapshot.asset}": snapshot.fingerprint for snapshot in inputs}
    return {
        "dagster.run_id": context.run.run_id,
        "dagster.asset": context.asset_key.to_user_string(),
        **hashes,
    }


def _figures(record: Mapping[str, Any], curve: str) -> dict[str, Any]:
    from selfai_pipeline.evaluation.plots import curve_png

    figures = {
        key: number(key, value) for key, value in record["metrics"].items() if isinstance(value, int | float)
    }
    growth = dg.MetadataValue.json(record.get("growth", []))
    return {**figures, "growth": growth, "curve": picture(curve_png(record["history"], ["loss", curve]))}


@dg.asset(
    group_name="training",
    kinds={"pytorch", "mlflow"},
    owners=OWNERS,
    code_version="1",
    pool="gpu",
    op_tags=GPU_TAGS,
)
def siamese_checkpoint(
    context: dg.AssetExecutionContext,
    config: SiameseConfig,
    balanced_label_table: Snapshot,
    store: dg.ResourceParam[Store],
    compute: Compute,
    tracking: Tracking,
) -> Snapshot:
    """The trunk, pre-trained as a Siamese pair: faces of like score lie close, of unlike score apart.

    Tiny Darknet with ELU and without batch norm; L1 distance and hinge embedding loss; Net2Net widens or
    deepens it whenever validation stalls. A run that was killed goes on from its last epoch.
    """
    from selfai_pipeline.training.checkpoints import load_record
    from selfai_pipeline.training.siamese_stage import pretrain_siamese

    tags = _tags(context, balanced_label_table)
    with tracking.run("siamese", parameters=config.model_dump(mode="json"), tags=tags) as run:
        ref = pretrain_siamese(
            balanced_label_table.table, store=store, settings=config, compute=compute, report=run.report
        )
    figures = {
        **_figures(load_record(ref, store=store), "validation_loss"),
        "mlflow_run": dg.MetadataValue.url(run.url),
    }
    inputs = [balanced_label_table]
    return materialized(context, {WHOLE: ref}, inputs=inputs, settings=config, metadata={WHOLE: figures})


@dg.asset(
    group_name="training",
    kinds={"pytorch"},
    owners=OWNERS,
    code_version="1",
    pool="gpu",
    op_tags=GPU_TAGS,
)
def widened_checkpoint(
    context: dg.AssetExecutionContext,
    config: WidenConfig,
    siamese_checkpoint: Snapshot,
    store: dg.ResourceParam[Store],
) -> Snapshot:
    """The same function at twice the width, by Net2Net; the sameness is measured in float64 first."""
    from selfai_pipeline.training.checkpoints import load_record
    from selfai_pipeline.training.widen_stage import widen_checkpoint

    ref = widen_checkpoint(siamese_checkpoint.checkpoint, store=store, settings=config)
    metrics = load_record(ref, store=store)["metrics"]
    figures = {key: number(key, value) for key, value in metrics.items() if isinstance(value, int | float)}
    inputs = [siamese_checkpoint]
    return materialized(context, {WHOLE: ref}, inputs=inputs, settings=config, metadata={WHOLE: figures})


@dg.asset(
    group_name="training",
    kinds={"pytorch", "mlflow"},
    owners=OWNERS,
    code_version="1",
    pool="gpu",
    op_tags=GPU_TAGS,
    check_specs=check_specs(
        "finetuned_scorer",
        completeness="The checkpoint reads back and scores pictures.",
        sanity="Scores of validation faces are finite and not all equal.",
        floor="Validation Pearson is above zero: the scorer learnt something.",
    ),
)
def finetuned_scorer(
    context: dg.AssetExecutionContext,
    config: FinetuneConfig,
    widened_checkpoint: Snapshot,
    balanced_label_table: Snapshot,
    store: dg.ResourceParam[Store],
    compute: Compute,
    tracking: Tracking,
) -> Iterator[dg.Output[Snapshot] | dg.AssetCheckResult]:
    """The scorer: Huber loss on draws that pick a class first and a picture second.

    It is registered in MLflow only after its own checks have passed.
    """
    from selfai_pipeline.training.checkpoints import folder_of, load_record
    from selfai_pipeline.training.finetune_stage import finetune_scorer

    labels = balanced_label_table.table
    tags = _tags(context, widened_checkpoint, balanced_label_table)
    with tracking.run("finetune", parameters=config.model_dump(mode="json"), tags=tags) as run:
        parent = widened_checkpoint.checkpoint
        ref = finetune_scorer(
            parent, labels, store=store, settings=config, compute=compute, report=run.report
        )
        record = load_record(ref, store=store)
        results = list(_judge(ref, record, store))
        figures = {**_figures(record, "validation_pearson"), "mlflow_run": dg.MetadataValue.url(run.url)}
        if all(result.passed for result in results):
            figures["registered_version"] = run.register(store.files.local_path(folder_of(ref)))
    inputs = [widened_checkpoint, balanced_label_table]
    snapshot = materialized(context, {WHOLE: ref}, inputs=inputs, settings=config, metadata={WHOLE: figures})
    yield dg.Output(snapshot)
    yield from results


def _judge(ref: CheckpointRef, record: Mapping[str, Any], store: Store) -> Iterator[dg.AssetCheckResult]:
    from selfai_pipeline.training.checkpoints import load_checkpoint

    load_checkpoint(ref, store=store)
    asset, metrics = "finetuned_scorer", record["metrics"]
    yield verdict(asset, "completeness", True, "the checkpoint reads back", pictures=ref.rows)
    pearson = metrics.get("validation_pearson")
    yield verdict(asset, "sanity", pearson is not None, "validation scores vary")
    floor = pearson is not None and pearson > 0
    yield verdict(asset, "quality_floor", floor, f"validation Pearson {pearson}")


def _checkpoint_checks(
    asset: str, snapshot: Snapshot, store: Store, floor: str
) -> Iterator[dg.AssetCheckResult]:
    from selfai_pipeline.training.checkpoints import load_checkpoint

    checkpoint = load_checkpoint(snapshot.checkpoint, store=store)
    parameters = sum(value.numel() for value in checkpoint.network.parameters())
    yield verdict(asset, "completeness", parameters > 0, "the checkpoint reads back", parameters=parameters)
    finite = all(bool(value.isfinite().all()) for value in checkpoint.network.state_dict().values())
    yield verdict(asset, "sanity", finite, "all weights are finite")
    value = checkpoint.record["metrics"].get(floor)
    yield verdict(asset, "quality_floor", value is not None, f"{floor}: {value}")


@dg.multi_asset_check(
    specs=check_specs(
        "siamese_checkpoint",
        completeness="The checkpoint reads back.",
        sanity="All weights are finite.",
        floor="The embedding has not collapsed: a linear probe reads scores from it.",
    )
)
def siamese_checkpoint_checks(
    siamese_checkpoint: Snapshot, store: dg.ResourceParam[Store]
) -> Iterator[dg.AssetCheckResult]:
    """Completeness, sanity and quality floor of pre-training."""
    yield from _checkpoint_checks("siamese_checkpoint", siamese_checkpoint, store, "probe_pearson")


@dg.multi_asset_check(
    specs=check_specs(
        "widened_checkpoint",
        completeness="The checkpoint reads back.",
        sanity="All weights are finite.",
        floor="The function is the same: the deviation in float64 was measured and is below the tolerance.",
    )
)
def widened_checkpoint_checks(
    widened_checkpoint: Snapshot, store: dg.ResourceParam[Store]
) -> Iterator[dg.AssetCheckResult]:
    """Completeness, sanity and quality floor of the widening."""
    yield from _checkpoint_checks("widened_checkpoint", widened_checkpoint, store, "deviation_float64")
