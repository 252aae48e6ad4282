"""Ratings: what the crowd said, one row a rating."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg

from assets.common import OWNERS, check_specs, judged, materialized, verdict
from selfai_pipeline.environment import Settings
from selfai_pipeline.home import Home
from selfai_pipeline.sources.settings import Source, load_sources
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, Snapshot, TableRef

if TYPE_CHECKING:
    from selfai_pipeline.labels.site.ratings import SiteRating


@dg.asset(group_name="labels", kinds={"parquet"}, owners=OWNERS, code_version="6")
def annotations(
    context: dg.AssetExecutionContext, raw_crawl: Snapshot, store: dg.ResourceParam[Store]
) -> Snapshot:
    """One row a rating, 0 to 9, from the files that sources.yaml declares and from the annotation site.

    A row that cannot be used, or whose picture was not stored, is counted by its reason and listed under
    imports/, not kept. Importing the same ratings again gives the same table, whatever their order and
    format; a corrected file gives a new version, and the old one stays.
    """
    from selfai_pipeline.labels.annotations import collect_annotations, file_hashes
    from selfai_pipeline.labels.site.ratings import site_ratings

    sources = load_sources(store.home.sources_file)
    # Taken before anything is read: what changes meanwhile makes the table out of date, and is not missed.
    from_site = site_ratings(store.home)
    external = {WHOLE: ratings_external(sources, store.home, from_site)}
    files = {f"{source}:{path}": sha256 for source, path, sha256 in file_hashes(sources, store.home)}
    ref = collect_annotations(raw_crawl, sources=sources, store=store, from_site=from_site)
    figures = dg.MetadataValue.json(store.tables.facts(ref))
    facts = {WHOLE: {"counts": figures, "files": dg.MetadataValue.json(files)}}
    return materialized(
        context, {WHOLE: ref}, inputs=[raw_crawl], settings=Settings(), external=external, metadata=facts
    )


def ratings_external(
    sources: list[Source], home: Home, from_site: "list[SiteRating] | None"
) -> dict[str, str]:
    """Hashes of what ratings depend on outside the graph: files, how they are to be read, the site."""
    from selfai_pipeline.labels.annotations import ratings_fingerprint
    from selfai_pipeline.labels.site.ratings import site_fingerprint
    from selfai_pipeline.sources.fingerprints import rating_declarations_fingerprint

    return {
        "ratings": ratings_fingerprint(sources, home),
        "declarations": rating_declarations_fingerprint(sources),
        **({} if from_site is None else {"site": site_fingerprint(from_site)}),
    }


@dg.multi_asset_check(
    specs=check_specs(
        "annotations",
        completeness="There are ratings.",
        sanity="Scores lie in 0..9 and every rating counts at least once.",
        floor="At least half of the ratings could be used and found their picture.",
    )
)
def annotations_checks(
    annotations: Snapshot, store: dg.ResourceParam[Store]
) -> Iterator[dg.AssetCheckResult]:
    """Completeness, sanity and quality floor of the ratings."""
    yield from judged(store, annotations.table, rating_verdicts(annotations.table, store))


def rating_verdicts(ref: TableRef, store: Store) -> Iterator[dg.AssetCheckResult]:
    """Completeness, sanity and quality floor of a version of the ratings."""
    from selfai_pipeline.labels.left_out import describe_files

    table = store.tables.read(ref, ["score", "ratings"])
    yield verdict("annotations", "completeness", ref.rows > 0, f"{ref.rows} ratings", ratings=ref.rows)
    scores, counts = table.column("score").to_pylist(), table.column("ratings").to_pylist()
    odd = sum(not 0 <= score <= 9 for score in scores) + sum(count < 1 for count in counts)
    yield verdict("annotations", "sanity", odd == 0, f"{odd} ratings out of range", odd=odd)
    facts = store.tables.facts(ref)
    left_out = sum(facts.get("left_out", {}).values())
    share = ref.rows / max(1, ref.rows + left_out)
    text = f"{ref.rows} of {ref.rows + left_out} ratings could be used, where half is needed"
    lost = describe_files(facts.get("left_out_files", []))
    text += f". Left out: {lost}" if lost else ""
    yield verdict("annotations", "quality_floor", share >= 0.5, text, matched_share=share)
