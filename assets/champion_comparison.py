"""The new scorer beside the champion, and the check that decides whether the champion moves."""

from collections.abc import Iterator
from dataclasses import replace

import dagster as dg

from assets.common import GPU_TAGS, OWNERS, check_specs, judged, materialized, source_of, verdict
from assets.training_stage import ran_on
from resources.compute import Compute
from resources.tracking import Tracking
from selfai_pipeline.knobs import defaults_of
from selfai_pipeline.release.settings import PromotionSettings, ReleaseSettings
from selfai_pipeline.store import Store
from selfai_pipeline.tables import PROMOTION_CHECK, WHOLE, Snapshot

LARGEST_DIFFERENCE = 1e-3
"""Points by which a face may differ from its score in the evaluation: batches are summed in another order."""


class PromotionConfig(defaults_of(PromotionSettings, section="champion_comparison"), dg.Config):  # type: ignore[misc]
    """What a scorer has to show before it becomes the champion."""


@dg.asset(
    group_name="release",
    kinds={"pytorch", "parquet"},
    owners=OWNERS,
    code_version="1",
    pool="gpu",
    op_tags=GPU_TAGS,
)
def champion_comparison(
    context: dg.AssetExecutionContext,
    config: PromotionConfig,
    finetuned_scorer: Snapshot,
    balanced_label_table: Snapshot,
    evaluation_report: Snapshot,
    store: dg.ResourceParam[Store],
    compute: Compute,
    tracking: Tracking,
) -> Snapshot:
    """The new scorer and the champion on the same test faces, and the model card.

    Faces that one of the two has seen in training are left out and counted. The difference in Pearson has an
    interval over faces, from the same resamples for both; subgroups with enough faces are compared one by
    one. The check `promotion` holds it against the rule. Where it fails, the champion stays and the run ends
    there: that is how it is meant, and `selfai promote` is the way for a person who knows better.
    """
    from selfai_pipeline.lineage.promotions import read_promotions
    from selfai_pipeline.lineage.registry import read_registry
    from selfai_pipeline.release.examination import examine, log_card, write_comparison
    from selfai_pipeline.release.model_card import without_front_matter
    from selfai_pipeline.release.model_registry import ModelRegistry
    from selfai_pipeline.release.recorded import recorded_facts
    from selfai_pipeline.removal.marks import removed_inputs

    scorer, labels = finetuned_scorer.checkpoint, balanced_label_table.table
    opponent = read_promotions(store).opponent_of(scorer.sha256)
    comparison, decision = examine(
        scorer,
        opponent,
        labels,
        store=store,
        settings=config,
        compute=compute,
        removed_inputs=removed_inputs,
    )
    ref = write_comparison(comparison, decision, store=store)
    figures = {"finding": decision.text, "figures": dg.MetadataValue.json(comparison.to_facts())}
    client = tracking.client()
    version = ModelRegistry(client).of_checkpoint(scorer.sha256)
    if version is not None:
        stated = defaults_of(ReleaseSettings, section="release_bundle")()
        facts = recorded_facts(version, store=store, registry=read_registry(store.home), settings=stated)
        card = log_card(facts, version.mlflow_run, client=client, comparison=comparison)
        figures["model_card"] = dg.MetadataValue.md(without_front_matter(card))
        figures["registered_version"] = dg.MetadataValue.url(tracking.model_url(version.version))
    return materialized(
        context,
        {WHOLE: ref},
        inputs=[finetuned_scorer, balanced_label_table, evaluation_report],
        settings=config,
        external={WHOLE: comparison_external(store)},
        metadata={WHOLE: {**figures, **ran_on(compute.describe())}},
    )


def comparison_external(store: Store) -> dict[str, str]:
    """What comes from outside the graph: the champion to be better than, and what was removed of the two."""
    from selfai_pipeline.lineage.promotions import read_promotions
    from selfai_pipeline.removal.marks import removed_inputs
    from selfai_pipeline.tables import CheckpointRef

    scorer = store.tables.current("finetuned_scorer")
    if scorer is None:
        return {}
    assert isinstance(scorer.ref, CheckpointRef)
    opponent = read_promotions(store).opponent_of(scorer.ref.sha256)
    both = [scorer.ref, *([replace(scorer.ref, sha256=opponent.checkpoint_sha256)] if opponent else [])]
    return {
        "champion": opponent.checkpoint_sha256 if opponent else "",
        "removed": str(sum(len(removed_inputs(store, one)) for one in both)),
    }


@dg.multi_asset_check(
    specs=[
        *check_specs(
            "champion_comparison",
            completeness="Every test face was compared, or left out because one of the two has seen it.",
            sanity="The scorer gives each face the score that its evaluation has.",
            floor="The difference has a figure, or the reason why it has none.",
        ),
        dg.AssetCheckSpec(
            PROMOTION_CHECK,
            asset="champion_comparison",
            description="Better than the champion on the same faces, no subgroup worse by more than the "
            "margins, no removed data in it. Where it fails, the champion stays.",
            blocking=True,
        ),
    ]
)
def champion_comparison_checks(
    champion_comparison: Snapshot, store: dg.ResourceParam[Store]
) -> Iterator[dg.AssetCheckResult]:
    """Completeness, sanity and quality floor of the comparison, and the check that the champion moves by."""
    from selfai_pipeline.release.examination import largest_difference, read_comparison
    from selfai_pipeline.removal.tables import REDACTED_ROWS

    asset, ref = "champion_comparison", champion_comparison.table
    comparison, decision = read_comparison(ref, store=store)
    left_out = comparison.test_faces - comparison.faces
    seen = comparison.seen_by_candidate + comparison.seen_by_champion
    text = f"{comparison.faces} of {comparison.test_faces} test faces compared, {seen} were seen in training"
    held = store.tables.read(ref, ["face"]).num_rows + store.tables.facts(ref).get(REDACTED_ROWS, 0)
    complete = held == comparison.faces and left_out <= seen and (left_out > 0) == (seen > 0)
    results = [verdict(asset, "completeness", complete, text, compared=comparison.faces)]
    difference = largest_difference(ref, source_of(store, ref, "evaluation_report"), store=store)
    text = f"scores differ from the evaluation's by {difference:.1e} points at most"
    results.append(verdict(asset, "sanity", difference <= LARGEST_DIFFERENCE, text, difference=difference))
    found = comparison.difference
    has_figure = found.value is not None or bool(found.why_no_value)
    results.append(verdict(asset, "quality_floor", has_figure, decision.finding))
    results.append(verdict(asset, PROMOTION_CHECK, decision.passes, decision.text))
    yield from judged(store, ref, results)
