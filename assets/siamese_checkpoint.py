"""Pre-training: a Siamese pair, grown by Net2Net."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import dagster as dg

from assets.common import GPU_TAGS, OWNERS, check_specs, judged, materialized, noise_ceiling, verdict
from assets.training_stage import checkpoint_verdicts, learning_figures, ran_on, tracked
from resources.compute import Compute
from resources.tracking import Tracking
from selfai_pipeline.knobs import defaults_of
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, CheckpointRef, Snapshot
from selfai_pipeline.training.settings import SIAMESE_CODE, SiameseSettings


class SiameseConfig(defaults_of(SiameseSettings, section="siamese_checkpoint"), dg.Config):  # type: ignore[misc]
    """Pre-training; each setting can be changed in the Launchpad."""


@dg.asset(
    group_name="training",
    kinds={"pytorch", "mlflow"},
    owners=OWNERS,
    code_version=SIAMESE_CODE,
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

    Tiny Darknet with ELU and without batch norm; a loss over all pairs of a batch (`pairing`); Net2Net widens
    or deepens it whenever validation stalls. A run that was killed goes on from its last epoch.
    """
    from selfai_pipeline.training.checkpoints import load_record
    from selfai_pipeline.training.siamese_stage import pretrain_siamese

    labels, machine = balanced_label_table.table, compute.describe()
    with tracked(context, tracking, config, balanced_label_table, machine=machine) as run:
        ref = pretrain_siamese(labels, store=store, settings=config, compute=compute, report=run.report)
        run.made(ref.sha256)
    record = load_record(ref, store=store)
    figures = learning_figures(record, run=run, curve="validation_loss")
    ceiling = noise_ceiling(store.tables.facts(labels))
    facts = {WHOLE: {**figures, **ceiling, **ran_on(machine)}}
    return materialized(context, {WHOLE: ref}, inputs=[balanced_label_table], settings=config, metadata=facts)


@dg.multi_asset_check(
    specs=check_specs(
        "siamese_checkpoint",
        completeness="The checkpoint reads back.",
        sanity="All weights are finite.",
        floor="The embedding has not collapsed: measured again on validation faces, distances are spread, "
        "several directions are used, and a linear probe reads scores better than chance.",
    ),
    pool="gpu",
    op_tags=GPU_TAGS,
)
def siamese_checkpoint_checks(
    siamese_checkpoint: Snapshot, store: dg.ResourceParam[Store], compute: Compute
) -> Iterator[dg.AssetCheckResult]:
    """Completeness, sanity and quality floor of pre-training."""
    ref = siamese_checkpoint.checkpoint
    floor = partial(collapse_verdict, ref, store, compute)
    yield from judged(store, ref, checkpoint_verdicts("siamese_checkpoint", ref, store, floor))


def collapse_verdict(ref: CheckpointRef, store: Store, compute: Compute) -> dg.AssetCheckResult:
    """The quality floor of a checkpoint that reads back."""
    from selfai_pipeline.training.soundness import embedding_condition

    found = embedding_condition(ref, store=store, compute=compute)
    probe: dict[str, Any] = {} if found.probe_pearson is None else {"probe_pearson": found.probe_pearson}
    mend = "train longer, take another pairing (of far_classes: raise negative_from), or rate more faces"
    text = "; ".join([*found.problems, mend]) if found.problems else "the embedding has not collapsed"
    return verdict(
        "siamese_checkpoint",
        "quality_floor",
        not found.problems,
        text,
        spread=found.spread,
        effective_rank=found.effective_rank,
        chance_pearson=found.chance_pearson,
        **probe,
    )
