"""Ablations: the seed's table on this data, an arm a partition."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from assets.common import (
    GPU_TAGS,
    OWNERS,
    check_specs,
    judged,
    materialized,
    new_record,
    noise_ceiling,
    number,
    verdict,
)
from assets.evaluation_report import EvaluationConfig
from assets.finetuned_scorer import FinetuneConfig
from assets.siamese_checkpoint import SiameseConfig
from assets.training_stage import ran_on, tracked
from assets.widened_checkpoint import WidenConfig
from resources.compute import Compute
from resources.tracking import Tracking
from selfai_pipeline.evaluation.ablations.arms import ARMS
from selfai_pipeline.evaluation.ablations.settings import ABLATION_CODE, AblationSettings
from selfai_pipeline.knobs import defaults_of
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Snapshot, TableRef

if TYPE_CHECKING:
    from selfai_pipeline.evaluation.ablations.outcome import Outcome

arms = dg.StaticPartitionsDefinition(list(ARMS))


class AblationConfig(defaults_of(AblationSettings, section="ablation_run"), dg.Config):  # type: ignore[misc]
    """Seeds of the arms, and the settings of every stage: the pipeline's where nothing else is said."""

    siamese: SiameseConfig = Field(SiameseConfig(), description="Pre-training, without its seed.")
    widening: WidenConfig = Field(WidenConfig(), description="Widening, without its seed.")
    fine_tuning: FinetuneConfig = Field(FinetuneConfig(), description="Fine-tuning, without its seed.")
    evaluation: EvaluationConfig = Field(EvaluationConfig(), description="Intervals.")


@dg.asset(
    partitions_def=arms,
    group_name="ablations",
    kinds={"pytorch", "mlflow"},
    owners=OWNERS,
    code_version=ABLATION_CODE,
    pool="gpu",
    op_tags=GPU_TAGS,
)
def ablation_run(
    context: dg.AssetExecutionContext,
    config: AblationConfig,
    balanced_label_table: Snapshot,
    store: dg.ResourceParam[Store],
    compute: Compute,
    tracking: Tracking,
) -> Snapshot:
    """One way to make a scorer, run with several seeds and measured on the test faces.

    Each run goes on from its last epoch where it was killed; when it ends its row is in the table, whatever
    becomes of the seeds that follow. The arms are those of
    the original work (from scratch, from ImageNet, Siamese, Siamese and Net2Net), its controls (without the
    last widening, wide from scratch with as many steps, with as much work), a model for each group, and the
    whole method on an eighth, a quarter and half of the training faces.
    Backfill all of them, then materialize ablation_report. An arm that cannot run here says why in its table.
    """
    from selfai_pipeline.evaluation.ablations.outcome import write_outcomes
    from selfai_pipeline.evaluation.ablations.runs import facts_of, run_arm

    arm, labels, machine = ARMS[context.partition_key], balanced_label_table.table, compute.describe()
    inputs, shared = [balanced_label_table], facts_of(labels, config, compute)

    def written(outcomes: "Sequence[Outcome]") -> TableRef:
        return write_outcomes(outcomes, arm=arm.name, store=store, facts=shared)

    def point(outcomes: "Sequence[Outcome]") -> None:
        store.tables.point(new_record(context, written(outcomes), inputs=inputs, settings=config))

    with tracked(context, tracking, config, balanced_label_table, machine=machine) as run:
        outcomes = run_arm(
            arm, labels, store=store, settings=config, compute=compute, report=run.report_as, ended=point
        )
    ref = written(outcomes)
    figures = {f"pearson_seed_{one.seed}": one.pearson for one in outcomes if one.pearson is not None}
    facts: dict[str, Any] = {name: number(name, value) for name, value in figures.items()}
    facts |= noise_ceiling(store.tables.facts(labels)) | ran_on(machine)
    facts["mlflow_run"] = dg.MetadataValue.url(run.url)
    return materialized(context, {arm.name: ref}, inputs=inputs, settings=config, metadata={arm.name: facts})


@dg.multi_asset_check(
    specs=check_specs(
        "ablation_run",
        completeness="Each seed has figures, or the reason why it has none.",
        sanity="All seeds were measured on the same faces, and none of the runs gives every face one score.",
        floor="Every run that ended correlates above zero.",
        partitions=arms,
    ),
)
def ablation_run_checks(
    ablation_run: Snapshot, store: dg.ResourceParam[Store]
) -> Iterator[dg.AssetCheckResult]:
    """Completeness, sanity and quality floor of an arm."""
    for ref in ablation_run.tables.values():
        yield from judged(store, ref, arm_verdicts(ref, store))


def arm_verdicts(ref: TableRef, store: Store) -> Iterator[dg.AssetCheckResult]:
    """Completeness, sanity and quality floor of a version of one arm."""
    from selfai_pipeline.evaluation.ablations.outcome import State, read_outcomes

    outcomes = read_outcomes(ref, store=store)
    ended = [one for one in outcomes if one.state is State.FINISHED]
    silent = sum(not one.reason for one in outcomes if one.state is State.NOT_RUN)
    reasons = "; ".join(sorted({one.reason for one in outcomes if one.reason}))
    text = f"{len(ended)} of {len(outcomes)} seeds ended" + (f"; the others: {reasons}" if reasons else "")
    yield verdict("ablation_run", "completeness", bool(outcomes) and silent == 0, text, ended=len(ended))
    counts = {len(one.predicted) for one in ended}
    undefined = sum(one.pearson is None for one in ended)
    text = f"runs were measured on {sorted(counts)} faces, {undefined} have no correlation"
    yield verdict("ablation_run", "sanity", len(counts) <= 1 and not undefined, text, undefined=undefined)
    worst: Mapping[str, float] = {"lowest": min(one.pearson or 0.0 for one in ended)} if ended else {}
    text = f"the lowest Pearson is {worst['lowest']:.3f}" if ended else "no run ended"
    yield verdict("ablation_run", "quality_floor", all(value > 0 for value in worst.values()), text, **worst)
