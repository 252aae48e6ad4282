"""Pre-training: a Siamese pair, grown by Net2Net."""

from collections.abc import Iterator

import dagster as dg

from assets.common import GPU_TAGS, OWNERS, check_specs, materialized, verdict
from assets.training_stage import condition_verdicts, learning_figures, run_tags
from resources.compute import Compute
from resources.tracking import Tracking
from selfai_pipeline.environment import for_environment
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, Snapshot
from selfai_pipeline.training.settings import SiameseSettings


class SiameseConfig(for_environment(SiameseSettings), dg.Config):  # type: ignore[misc]
    """Pre-training; each setting can be changed in the Launchpad."""


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

    labels = balanced_label_table.table
    tags = run_tags(context, balanced_label_table)
    with tracking.run("siamese", parameters=config.model_dump(mode="json"), tags=tags) as run:
        ref = pretrain_siamese(labels, store=store, settings=config, compute=compute, report=run.report)
    record = load_record(ref, store=store)
    figures = {WHOLE: learning_figures(record, mlflow_url=run.url, curve="validation_loss")}
    return materialized(
        context, {WHOLE: ref}, inputs=[balanced_label_table], settings=config, metadata=figures
    )


@dg.multi_asset_check(
    specs=check_specs(
        "siamese_checkpoint",
        completeness="The checkpoint reads back.",
        sanity="All weights are finite.",
        floor="The embedding has not collapsed: a linear probe reads validation scores from it.",
    )
)
def siamese_checkpoint_checks(
    siamese_checkpoint: Snapshot, store: dg.ResourceParam[Store]
) -> Iterator[dg.AssetCheckResult]:
    """Completeness, sanity and quality floor of pre-training."""
    from selfai_pipeline.training.checkpoints import load_record

    ref = siamese_checkpoint.checkpoint
    yield from condition_verdicts("siamese_checkpoint", ref, store)
    pearson = load_record(ref, store=store)["metrics"].get("probe_pearson")
    text = "the embedding is constant" if pearson is None else f"the probe correlates at {pearson:.3f}"
    yield verdict("siamese_checkpoint", "quality_floor", pearson is not None and pearson > 0, text)
