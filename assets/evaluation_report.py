"""The evaluation: how well the scorer correlates with the crowd on faces it never saw."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.common import (
    GPU_TAGS,
    OWNERS,
    check_specs,
    judged,
    materialized,
    noise_ceiling,
    number,
    preview_link,
    verdict,
)
from assets.training_stage import ran_on
from resources.compute import Compute
from selfai_pipeline.evaluation.ablations.arms import SHARES, WHOLE_METHOD
from selfai_pipeline.evaluation.settings import EvaluationSettings
from selfai_pipeline.knobs import defaults_of
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, CheckpointRef, Snapshot

if TYPE_CHECKING:
    from selfai_pipeline.evaluation.champion import Champion

CURVE = (*(arm.name for arm in SHARES), WHOLE_METHOD)
"""The arms that the page draws correlation against training-set size from."""

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
    """Scores of the test faces with their intervals, and a page about them.

    Pearson with its interval beside the noise ceiling, Spearman, errors, calibration, how many faces the
    intervals cover, subgroups, the champion, drift over crawl days, learning curves, occlusion maps and
    galleries. The scores are impressions of a crowd, not facts about people.
    """
    from selfai_pipeline.evaluation.report import evaluate, write_report

    scorer, labels = finetuned_scorer.checkpoint, balanced_label_table.table
    # Taken before anything is read: what changes meanwhile makes the page out of date, and is not missed.
    external = {WHOLE: report_external(scorer, store)}
    ref = evaluate(scorer, labels, store=store, settings=config, compute=compute)
    page = write_report(
        ref,
        scorer=scorer,
        labels=labels,
        store=store,
        settings=config,
        compute=compute,
        champion=opponent_of(scorer, store),
    )
    found = store.tables.facts(ref)
    link = preview_link(page.relative_to(store.home.root).as_posix())
    figures = {"report": link, **shown_figures(found), "figures": dg.MetadataValue.json(found)}
    facts = {WHOLE: {**figures, **ran_on(compute.describe())}}
    inputs = [finetuned_scorer, balanced_label_table]
    return materialized(
        context, {WHOLE: ref}, inputs=inputs, settings=config, external=external, metadata=facts
    )


def report_external(scorer: CheckpointRef, store: Store) -> dict[str, str]:
    """What the page shows from outside its inputs: the champion, and the arms of the training-size curve.

    What is not there is left out. To become the champion itself changes nothing for a scorer: it is compared
    with the one before it.
    """
    from selfai_pipeline.lineage.promotions import read_promotions

    opponent = read_promotions(store).opponent_of(scorer.sha256)
    runs = store.tables.snapshot("ablation_run").hashes
    return {
        **({"champion": opponent.checkpoint_sha256} if opponent else {}),
        **{f"ablation_run {arm}": runs[arm] for arm in CURVE if arm in runs},
    }


def opponent_of(scorer: CheckpointRef, store: Store) -> "Champion | None":
    """The scorer that the check `promotion` will hold this one against; None where nobody else was champion.

    Raises:
        AlteredVersion: the log of promotions was altered.
    """
    from selfai_pipeline.evaluation.champion import Champion
    from selfai_pipeline.lineage.promotions import read_promotions
    from selfai_pipeline.lineage.registry import MODEL
    from selfai_pipeline.release.model_registry import reference

    opponent = read_promotions(store).opponent_of(scorer.sha256)
    return Champion(reference(opponent), f"{MODEL}@{opponent.version}") if opponent else None


def shown_figures(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Correlation, noise ceiling, and the interval of a score with the share of test faces that it covers.

    What is not defined has its reason in place of a number.
    """
    pearson, intervals = facts["pearson"], facts["intervals"]
    shown: dict[str, Any] = {
        "pearson": dg.MetadataValue.text(pearson["why_no_value"])
        if pearson["value"] is None
        else number("pearson", pearson["value"]),
        **noise_ceiling(facts),
    }
    percent = round(100 * intervals["coverage"])
    level = next((one for one in intervals["levels"] if one["coverage"] == intervals["coverage"]), None)
    if level is None or level["half_width"] is None:
        return {**shown, f"interval_{percent}": dg.MetadataValue.text(f"none: {intervals['reason']}")}
    return {
        **shown,
        f"interval_{percent}": dg.MetadataValue.text(f"score ± {level['half_width']:.2f}"),
        f"interval_{percent}_covers": number("coverage", level["covered"]["value"]),
    }


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
