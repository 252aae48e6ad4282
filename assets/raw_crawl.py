"""The crawl: one row a fetched picture."""

from collections.abc import Iterator

import dagster as dg

from assets.common import (
    BY_RANGE,
    OWNERS,
    as_metadata,
    check_specs,
    crawl_days,
    judged_by_day,
    materialized,
    preview_link,
    verdict,
)
from assets.policies import may_retry, retries
from selfai_pipeline.knobs import defaults_of
from selfai_pipeline.sources.fingerprints import crawl_fingerprints
from selfai_pipeline.sources.settings import CrawlSettings, load_sources
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Snapshot, TableRef


class CrawlConfig(defaults_of(CrawlSettings, section="raw_crawl"), dg.Config):  # type: ignore[misc]
    """Limits of the crawl; each can be changed in the Launchpad."""


@dg.asset(
    partitions_def=crawl_days,
    backfill_policy=BY_RANGE,
    group_name="data",
    kinds={"scrapy", "parquet"},
    owners=OWNERS,
    code_version="2",
)
def raw_crawl(
    context: dg.AssetExecutionContext, config: CrawlConfig, store: dg.ResourceParam[Store]
) -> Snapshot:
    """One row a fetched picture of every source in sources.yaml; refused fetches too, with the reason.

    A past day is never crawled again: the table is made from the journal and the picture store, and only
    addresses without a final outcome are asked. So a second materialization gives the same table.
    """
    from selfai_pipeline.pictures.contact_sheet import write_crawl_thumbnails
    from selfai_pipeline.sources.crawl import CrawlDoings, crawl_day
    from selfai_pipeline.sources.crawl_figures import crawl_figures

    sources = load_sources(store.home.sources_file)
    # Taken before anything is read: what changes meanwhile makes the day out of date, and is not missed.
    external = {
        day: crawl_fingerprints(day, sources=sources, home=store.home) for day in context.partition_keys
    }
    refs, metadata = {}, {}
    for day in context.partition_keys:
        doings = CrawlDoings()
        with retries(context):
            refs[day] = crawl_day(
                day, sources=sources, store=store, settings=config, doings=doings, insists=may_retry(context)
            )
        preview = f"previews/raw_crawl/{day}.jpg"
        _, unshown = write_crawl_thumbnails(refs[day], store=store, path=store.home.root / preview)
        figures = crawl_figures(refs[day], store=store, doings=doings)
        left_out = {"thumbnails_left_out": unshown} if unshown else {}
        metadata[day] = {**as_metadata({**figures, **left_out}), "thumbnails": preview_link(preview)}
    return materialized(context, refs, inputs=[], settings=config, external=external, metadata=metadata)


@dg.multi_asset_check(
    specs=check_specs(
        "raw_crawl",
        completeness="Every stored picture is in the picture store, and every source could be crawled (else "
        "a warning).",
        sanity="Stored rows carry size, format and orientation; the others carry a reason.",
        floor="Fewer than half of the fetches failed for a passing cause (they are tried again), those of "
        "sources that could not be crawled at all left out.",
        partitions=crawl_days,
    )
)
def raw_crawl_checks(
    context: dg.AssetCheckExecutionContext, raw_crawl: Snapshot, store: dg.ResourceParam[Store]
) -> Iterator[dg.AssetCheckResult | dg.AssetCheckEvaluation]:
    """Completeness, sanity and quality floor of the crawl, day by day."""
    yield from judged_by_day(context, raw_crawl, store, crawl_verdicts)


def crawl_verdicts(ref: TableRef, store: Store) -> Iterator[dg.AssetCheckResult]:
    """Completeness, sanity and quality floor of one day's crawl."""
    rows = store.tables.read(ref).to_pylist()
    stored = [row for row in rows if row["status"] == "stored"]
    lost = sum(row["image_id"] not in store.pictures for row in stored)
    unavailable = store.tables.facts(ref).get("unavailable", {})
    # With what the other sources gave the day goes on.
    only_unavailable = bool(unavailable) and not lost
    yield verdict(
        "raw_crawl",
        "completeness",
        not lost and not unavailable,
        " ".join([*unavailable.values(), f"{lost} stored pictures are lost"]),
        dg.AssetCheckSeverity.WARN if only_unavailable else dg.AssetCheckSeverity.ERROR,
        lost=lost,
        unavailable=len(unavailable),
    )
    facts = ("image_id", "format", "bytes", "width", "height", "orientation")
    odd = sum(any(row[name] is None for name in facts) for row in stored) + sum(
        row["reason"] is None for row in rows if row["status"] != "stored"
    )
    yield verdict("raw_crawl", "sanity", odd == 0, f"{odd} rows lack facts or a reason", odd=odd)
    asked = [row for row in rows if row["source"] not in unavailable]
    failed = sum(row["status"] == "failed" for row in asked)
    share = failed / max(1, len(asked))
    text = f"{failed} of {len(asked)} fetches failed, where half is too many"
    yield verdict("raw_crawl", "quality_floor", share < 0.5, text, failed_share=share)
