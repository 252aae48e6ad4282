"""Ratings: what the crowd said, one row a rating."""

from collections.abc import Iterator

import dagster as dg

from assets.common import OWNERS, check_specs, materialized, verdict
from selfai_pipeline.environment import Settings
from selfai_pipeline.sources.settings import load_sources
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, Snapshot


@dg.asset(group_name="labels", kinds={"parquet"}, owners=OWNERS, code_version="1")
def annotations(
    context: dg.AssetExecutionContext, raw_crawl: Snapshot, store: dg.ResourceParam[Store]
) -> Snapshot:
    """One row a rating, from the ratings files that sources.yaml declares, on the scale 0 to 9.

    A rating of a picture that was not stored is counted, not kept. Importing the same file again gives the
    same table; a corrected file gives a new version, and the old one stays.
    """
    from selfai_pipeline.labels.annotations import collect_annotations, ratings_fingerprint

    sources = load_sources(store.home.sources_file)
    ref = collect_annotations(raw_crawl, sources=sources, store=store)
    facts = {WHOLE: {"counts": dg.MetadataValue.json(store.tables.facts(ref))}}
    external = {"ratings": ratings_fingerprint(sources, store.home)}
    return materialized(
        context, {WHOLE: ref}, inputs=[raw_crawl], settings=Settings(), external=external, metadata=facts
    )


@dg.multi_asset_check(
    specs=check_specs(
        "annotations",
        completeness="There are ratings.",
        sanity="Scores lie in 0..9 and every rating counts at least once.",
        floor="At least half of the ratings found their picture.",
    )
)
def annotations_checks(
    annotations: Snapshot, store: dg.ResourceParam[Store]
) -> Iterator[dg.AssetCheckResult]:
    """Completeness, sanity and quality floor of the ratings."""
    ref = annotations.table
    table = store.tables.read(ref, ["score", "ratings"])
    yield verdict("annotations", "completeness", ref.rows > 0, f"{ref.rows} ratings", ratings=ref.rows)
    scores, counts = table.column("score").to_pylist(), table.column("ratings").to_pylist()
    odd = sum(not 0 <= score <= 9 for score in scores) + sum(count < 1 for count in counts)
    yield verdict("annotations", "sanity", odd == 0, f"{odd} ratings out of range", odd=odd)
    unmatched = int(store.tables.facts(ref).get("unmatched", 0))
    share = ref.rows / max(1, ref.rows + unmatched)
    yield verdict("annotations", "quality_floor", share >= 0.5, f"{share:.0%} matched", matched_share=share)
