"""The crawl: one row a fetched picture."""

from collections.abc import Iterator

import dagster as dg

from assets.common import BY_RANGE, OWNERS, check_specs, crawl_days, materialized, verdict
from selfai_pipeline.environment import for_environment
from selfai_pipeline.sources.settings import CrawlSettings, load_sources, sources_fingerprint
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Snapshot


class CrawlConfig(for_environment(CrawlSettings), dg.Config):  # type: ignore[misc]
    """Limits of the crawl; each can be changed in the Launchpad."""


@dg.asset(
    partitions_def=crawl_days,
    backfill_policy=BY_RANGE,
    group_name="data",
    kinds={"scrapy", "parquet"},
    owners=OWNERS,
    code_version="1",
)
def raw_crawl(
    context: dg.AssetExecutionContext, config: CrawlConfig, store: dg.ResourceParam[Store]
) -> Snapshot:
    """One row a fetched picture of every source in sources.yaml; refused fetches too, with the reason.

    A past day is never crawled again: the table is made from the journal and the picture store, and only
    addresses without a final outcome are asked. So a second materialization gives the same table.
    """
    from selfai_pipeline.sources.crawl import crawl_day

    sources = load_sources(store.home.sources_file)
    refs = {
        day: crawl_day(day, sources=sources, store=store, settings=config) for day in context.partition_keys
    }
    facts = {
        day: {"counts": dg.MetadataValue.json(store.tables.facts(ref).get("counts", {}))}
        for day, ref in refs.items()
    }
    external = {"sources": sources_fingerprint(sources)}
    return materialized(context, refs, inputs=[], settings=config, external=external, metadata=facts)


@dg.multi_asset_check(
    specs=check_specs(
        "raw_crawl",
        completeness="Every stored picture of the table is in the picture store.",
        sanity="Stored rows carry size, format and orientation; the others carry a reason.",
        floor="Fewer than half of the fetches failed for a passing cause (they are tried again).",
        partitions=crawl_days,
    )
)
def raw_crawl_checks(raw_crawl: Snapshot, store: dg.ResourceParam[Store]) -> Iterator[dg.AssetCheckResult]:
    """Completeness, sanity and quality floor of the crawl."""
    rows = store.tables.read_all(raw_crawl).to_pylist()
    stored = [row for row in rows if row["status"] == "stored"]
    lost = sum(row["image_id"] not in store.pictures for row in stored)
    yield verdict("raw_crawl", "completeness", lost == 0, f"{lost} stored pictures are lost", lost=lost)
    facts = ("image_id", "format", "bytes", "width", "height", "orientation")
    odd = sum(any(row[name] is None for name in facts) for row in stored) + sum(
        row["reason"] is None for row in rows if row["status"] != "stored"
    )
    yield verdict("raw_crawl", "sanity", odd == 0, f"{odd} rows lack facts or a reason", odd=odd)
    failed = sum(row["status"] == "failed" for row in rows)
    share = failed / max(1, len(rows))
    yield verdict("raw_crawl", "quality_floor", share < 0.5, f"{share:.0%} failed", failed_share=share)
