"""Widening: the same function at twice the width."""

import math
from collections.abc import Iterator

import dagster as dg

from assets.common import GPU_TAGS, OWNERS, check_specs, judged, materialized, source_of, verdict
from assets.training_stage import checkpoint_verdicts, figures_of, ran_on, tracked
from resources.compute import Compute
from resources.tracking import Tracking
from selfai_pipeline.knobs import defaults_of
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, Snapshot
from selfai_pipeline.training.settings import WIDEN_CODE, Copies, WidenSettings

LARGEST_DEVIATION = 1e-10


class WidenConfig(defaults_of(WidenSettings, section="widened_checkpoint"), dg.Config):  # type: ignore[misc]
    """Widening; each setting can be changed in the Launchpad."""


@dg.asset(
    group_name="training",
    kinds={"pytorch", "mlflow"},
    owners=OWNERS,
    code_version=WIDEN_CODE,
    pool="gpu",
    op_tags=GPU_TAGS,
)
def widened_checkpoint(
    context: dg.AssetExecutionContext,
    config: WidenConfig,
    siamese_checkpoint: Snapshot,
    store: dg.ResourceParam[Store],
    compute: Compute,
    tracking: Tracking,
) -> Snapshot:
    """The same function at twice the width, by Net2Net; the sameness is measured in float64 first.

    `copies: zeroing_noise` is the exception: how far the function moved is recorded, and nothing is refused.
    """
    from selfai_pipeline.training.checkpoints import load_record
    from selfai_pipeline.training.widen_stage import widen_checkpoint

    parent, machine = siamese_checkpoint.checkpoint, compute.describe_processor()
    with tracked(context, tracking, config, siamese_checkpoint, machine=machine) as run:
        ref = widen_checkpoint(parent, store=store, settings=config, compute=compute)
        run.made(ref.sha256)
        figures = figures_of(load_record(ref, store=store))
        run.report(0, figures)
    facts = {WHOLE: {**figures, "mlflow_run": dg.MetadataValue.url(run.url), **ran_on(machine)}}
    return materialized(context, {WHOLE: ref}, inputs=[siamese_checkpoint], settings=config, metadata=facts)


@dg.multi_asset_check(
    specs=check_specs(
        "widened_checkpoint",
        completeness="The checkpoint reads back.",
        sanity="All weights are finite.",
        floor="The function is that of the Siamese checkpoint: 1e-10 in float64, on pictures of its own. "
        "Where zeroing noise was asked for, how far it moved is measured and nothing more.",
    )
)
def widened_checkpoint_checks(
    widened_checkpoint: Snapshot, store: dg.ResourceParam[Store]
) -> Iterator[dg.AssetCheckResult]:
    """Completeness, sanity and quality floor of the widening."""
    from selfai_pipeline.training.checkpoints import load_record
    from selfai_pipeline.training.soundness import widening_deviation

    asset, ref = "widened_checkpoint", widened_checkpoint.checkpoint

    def floor() -> dg.AssetCheckResult:
        moved = widening_deviation(source_of(store, ref, "siamese_checkpoint"), ref, store=store)
        text, same = f"the function moved by {moved:.1e}", moved < LARGEST_DEVIATION
        if load_record(ref, store=store)["settings"].get("copies") == Copies.ZEROING_NOISE:
            text, same = f"{text}: zeroing noise was asked for, which is not exact", math.isfinite(moved)
        return verdict(asset, "quality_floor", same, text, deviation_float64=moved)

    yield from judged(store, ref, checkpoint_verdicts(asset, ref, store, floor))
