"""The evaluation: how well the scorer correlates with the crowd on faces it never saw."""

from collections.abc import Iterator

import dagster as dg

from assets.common import OWNERS, check_specs, materialized, preview_link, source_of, verdict
from resources.compute import Compute
from selfai_pipeline.environment import for_environment
from selfai_pipeline.evaluation.settings import EvaluationSettings
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, Snapshot


class EvaluationConfig(for_environment(EvaluationSettings), dg.Config):  # type: ignore[misc]
    """Intervals, occlusion and galleries; each setting can be changed in the Launchpad."""


@dg.asset(group_name="evaluation", kinds={"pytorch", "parquet"}, owners=OWNERS, code_version="1")
def evaluation_report(
    context: dg.AssetExecutionContext,
    config: EvaluationConfig,
    finetuned_scorer: Snapshot,
    balanced_label_table: Snapshot,
    store: dg.ResourceParam[Store],
    compute: Compute,
) -> Snapshot:
    """Scores of the test faces, and a page about them.

    Pearson with its interval beside the noise ceiling, Spearman, errors, subgroups, learning curves,
    occlusion maps and galleries. The scores are impressions of a crowd, not facts about people.
    """
    from selfai_pipeline.evaluation.report import evaluate, write_report

    scorer, labels = finetuned_scorer.checkpoint, balanced_label_table.table
    ref = evaluate(scorer, labels, store=store, settings=config, compute=compute)
    page = write_report(ref, scorer=scorer, labels=labels, store=store, settings=config, compute=compute)
    link = preview_link(page.relative_to(store.home.root).as_posix())
    facts = {WHOLE: {"figures": dg.MetadataValue.json(store.tables.facts(ref)), "report": link}}
    inputs = [finetuned_scorer, balanced_label_table]
    return materialized(context, {WHOLE: ref}, inputs=inputs, settings=config, metadata=facts)


@dg.multi_asset_check(
    specs=check_specs(
        "evaluation_report",
        completeness="Every test face of the label table has a score.",
        sanity="The scores are finite and not all equal.",
        floor="The correlation with the crowd is above zero.",
    )
)
def evaluation_report_checks(
    evaluation_report: Snapshot, store: dg.ResourceParam[Store]
) -> Iterator[dg.AssetCheckResult]:
    """Completeness, sanity and quality floor of the evaluation."""
    import numpy as np

    asset = "evaluation_report"
    table = store.tables.read(evaluation_report.table, ["score", "predicted"])
    labels = source_of(store, evaluation_report.table, "balanced_label_table")
    splits = store.tables.read(labels, ["split"]).column("split").to_pylist()
    missing = abs(splits.count("test") - table.num_rows)
    yield verdict(asset, "completeness", missing == 0, f"{missing} faces without a score", missing=missing)
    predicted, score = (np.array(table.column(name)) for name in ("predicted", "score"))
    varied = bool(np.isfinite(predicted).all() and np.ptp(predicted) > 0 and np.ptp(score) > 0)
    yield verdict(asset, "sanity", varied, "scores vary" if varied else "scores do not vary")
    if not varied:
        yield verdict(asset, "quality_floor", False, "the correlation is not defined")
        return
    pearson = float(np.corrcoef(predicted, score)[0, 1])
    yield verdict(asset, "quality_floor", pearson > 0, f"Pearson {pearson:.3f}", pearson=pearson)
