"""Fine-tuning: the scorer, registered once its checks have passed."""

from collections.abc import Iterator

import dagster as dg

from assets.common import GPU_TAGS, OWNERS, check_specs, judged, materialized, noise_ceiling, verdict
from assets.training_stage import checkpoint_verdicts, learning_figures, ran_on, tracked
from resources.compute import Compute
from resources.tracking import Tracking
from selfai_pipeline.knobs import defaults_of
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, CheckpointRef, Snapshot, TableRef
from selfai_pipeline.training.settings import FINETUNE_CODE, FinetuneSettings


class FinetuneConfig(defaults_of(FinetuneSettings, section="finetuned_scorer"), dg.Config):  # type: ignore[misc]
    """Fine-tuning; each setting can be changed in the Launchpad."""


@dg.asset(
    group_name="training",
    kinds={"pytorch", "mlflow"},
    owners=OWNERS,
    code_version=FINETUNE_CODE,
    pool="gpu",
    op_tags=GPU_TAGS,
    check_specs=check_specs(
        "finetuned_scorer",
        completeness="The checkpoint reads back.",
        sanity="All weights are finite.",
        floor="Scored again from the stored checkpoint, validation faces correlate above zero.",
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
    """The scorer: Huber loss on draws that favour rare scores, by the label table's weights to a power.

    Its checks run here, before it is registered in MLflow: a scorer that fails one is kept, not registered.
    """
    from selfai_pipeline.training.checkpoints import checkpoint_files, load_record
    from selfai_pipeline.training.finetune_stage import finetune_scorer

    inputs = [widened_checkpoint, balanced_label_table]
    parent, labels = widened_checkpoint.checkpoint, balanced_label_table.table
    machine = compute.describe()
    with tracked(context, tracking, config, *inputs, machine=machine) as run:
        ref = finetune_scorer(
            parent, labels, store=store, settings=config, compute=compute, report=run.report
        )
        run.made(ref.sha256)
        results = judged(store, ref, scorer_verdicts(ref, labels, store, compute))
        record = load_record(ref, store=store)
        figures = learning_figures(record, run=run, curve="validation_pearson")
        figures |= noise_ceiling(store.tables.facts(labels)) | ran_on(machine)
        if all(result.passed for result in results):
            files = checkpoint_files(ref, store=store)
            figures["registered_version"] = run.register(files, sha256=ref.sha256)
    yield dg.Output(
        materialized(context, {WHOLE: ref}, inputs=inputs, settings=config, metadata={WHOLE: figures})
    )
    yield from results


def scorer_verdicts(
    ref: CheckpointRef, labels: TableRef, store: Store, compute: Compute
) -> list[dg.AssetCheckResult]:
    """Completeness, sanity and quality floor of a scorer."""
    from selfai_pipeline.errors import UndefinedMetric
    from selfai_pipeline.training.metrics import pearson
    from selfai_pipeline.training.soundness import validation_scores

    asset = "finetuned_scorer"

    def floor() -> dg.AssetCheckResult:
        predicted, annotated = validation_scores(ref, labels, store=store, compute=compute)
        try:
            correlation = pearson(predicted, annotated)
        except UndefinedMetric as undefined:
            return verdict(asset, "quality_floor", False, str(undefined))
        ceiling = store.tables.facts(labels).get("noise_ceiling")
        text = f"validation Pearson {correlation:.3f}, noise ceiling of all labels " + (
            "not known" if ceiling is None else f"{ceiling:.3f}"
        )
        return verdict(asset, "quality_floor", correlation > 0, text, validation_pearson=correlation)

    return checkpoint_verdicts(asset, ref, store, floor)
