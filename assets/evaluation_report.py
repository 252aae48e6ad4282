"""The evaluation: how well the scorer correlates with the crowd on faces it never saw."""

from collections.abc import Iterator

import dagster as dg

from assets.common import GPU_TAGS, OWNERS, check_specs, judged, materialized, preview_link, verdict
from assets.training_stage import ran_on
from resources.compute import Compute
from selfai_pipeline.evaluation.settings import EvaluationSettings
from selfai_pipeline.knobs import defaults_of
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, Snapshot

LARGEST_DIFFERENCE = 1e-3
"""Points by which a face scored twice may differ: batches of another size are summed in another order."""


class EvaluationConfig(defaults_of(EvaluationSettings, section="evaluation_report"), dg.Config):  # type: ignore[misc]
    """Intervals, occlusion and galleries; each setting can be changed in the Launchpad."""


@dg.asset(
    group_name="evaluation",
    kinds={"pytorch", "parquet"},
    owners=OWNERS,
    code_version="2",
    pool="gpu",
    op_tags=GPU_TAGS,
)
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
    figures = {"figures": dg.MetadataValue.json(store.tables.facts(ref)), "report": link}
    facts = {WHOLE: {**figures, **ran_on(compute.describe())}}
    inputs = [finetuned_scorer, balanced_label_table]
    return materialized(context, {WHOLE: ref}, inputs=inputs, settings=config, metadata=facts)


@dg.multi_asset_check(
    specs=check_specs(
        "evaluation_report",
        completeness="Exactly the test faces of the label table have a score, and the page is there.",
        sanity="Faces scored again by the stored scorer get the same score, and not all the same one.",
        floor="The correlation with the crowd is above zero.",
    ),
    pool="gpu",
    op_tags=GPU_TAGS,
)
def evaluation_report_checks(
    evaluation_report: Snapshot, store: dg.ResourceParam[Store], compute: Compute
) -> Iterator[dg.AssetCheckResult]:
    """Completeness, sanity and quality floor of the evaluation."""
    from selfai_pipeline.errors import UndefinedMetric
    from selfai_pipeline.evaluation.report import page_of
    from selfai_pipeline.evaluation.soundness import faces_without_score, largest_difference
    from selfai_pipeline.training.metrics import pearson

    asset, ref = "evaluation_report", evaluation_report.table
    differing = faces_without_score(ref, store=store)
    page = page_of(ref, store=store).exists()
    text = f"{differing} faces differ from the test split, the page is {'there' if page else 'missing'}"
    results = [verdict(asset, "completeness", differing == 0 and page, text, differing=differing)]
    difference = largest_difference(ref, store=store, compute=compute)
    table = store.tables.read(ref, ["score", "predicted"])
    try:
        correlation = pearson(table["predicted"].to_numpy(), table["score"].to_numpy())
    except UndefinedMetric as undefined:
        results.append(verdict(asset, "sanity", False, str(undefined), difference=difference))
        results.append(verdict(asset, "quality_floor", False, "the correlation is not defined"))
    else:
        text = f"faces scored again differ by {difference:.1e} points at most"
        sane = difference <= LARGEST_DIFFERENCE
        results.append(verdict(asset, "sanity", sane, text, difference=difference))
        text = f"Pearson {correlation:.3f}"
        results.append(verdict(asset, "quality_floor", correlation > 0, text, pearson=correlation))
    yield from judged(store, ref, results)
