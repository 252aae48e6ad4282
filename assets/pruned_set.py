"""Pruning: what of the crawl can be used."""

from collections.abc import Iterator

import dagster as dg

from assets.common import (
    BY_RANGE,
    FEW_PICTURES,
    OWNERS,
    check_specs,
    crawl_days,
    judged_by_day,
    materialized,
    needed,
    preview_link,
    source_of,
    verdict,
)
from selfai_pipeline.knobs import defaults_of
from selfai_pipeline.pictures.settings import PruneSettings
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Snapshot, TableRef, differing


class PruneConfig(defaults_of(PruneSettings, section="pruned_set"), dg.Config):  # type: ignore[misc]
    """Thresholds of pruning; each can be changed in the Launchpad."""


@dg.asset(
    partitions_def=crawl_days,
    backfill_policy=BY_RANGE,
    group_name="data",
    kinds={"opencv", "parquet"},
    owners=OWNERS,
    code_version="5",
)
def pruned_set(
    context: dg.AssetExecutionContext,
    config: PruneConfig,
    raw_crawl: Snapshot,
    store: dg.ResourceParam[Store],
) -> Snapshot:
    """One row a crawled picture: kept, or the reason it was dropped, with every measured value.

    The measured values stay in the table, so that thresholds can be changed without another crawl: what the
    same code measured before is taken over, and nothing is decoded again.
    """
    from selfai_pipeline.pictures.contact_sheet import write_thumbnails
    from selfai_pipeline.pictures.prune import prune_day

    refs, metadata = {}, {}
    for day in context.partition_keys:
        needed(day, raw_crawl)
        refs[day] = prune_day(raw_crawl.tables[day], store=store, settings=config)
        preview = f"previews/pruned_set/{day}.jpg"
        write_thumbnails(refs[day], store=store, path=store.home.root / preview)
        counts = dg.MetadataValue.json(store.tables.facts(refs[day])["counts"])
        metadata[day] = {"counts": counts, "thumbnails": preview_link(preview)}
    return materialized(context, refs, inputs=[raw_crawl], settings=config, metadata=metadata)


@dg.multi_asset_check(
    specs=check_specs(
        "pruned_set",
        completeness="One row a stored picture of the crawl.",
        sanity="Kept rows have every measured value; dropped rows have a reason.",
        floor="At least a tenth of the pictures is kept, where there are twenty or more.",
        partitions=crawl_days,
    )
)
def pruned_set_checks(
    context: dg.AssetCheckExecutionContext, pruned_set: Snapshot, store: dg.ResourceParam[Store]
) -> Iterator[dg.AssetCheckResult | dg.AssetCheckEvaluation]:
    """Completeness, sanity and quality floor of pruning, day by day."""
    yield from judged_by_day(context, pruned_set, store, prune_verdicts)


def prune_verdicts(ref: TableRef, store: Store) -> Iterator[dg.AssetCheckResult]:
    """Completeness, sanity and quality floor of one day's pruned set."""
    from selfai_pipeline.pictures.examine import MEASURED

    rows = store.tables.read(ref).to_pylist()
    crawled = store.tables.read(source_of(store, ref, "raw_crawl"), ["status", "url"]).to_pylist()
    stored = [row["url"] for row in crawled if row["status"] == "stored"]
    amiss = differing(stored, [row["url"] for row in rows])
    text = f"{amiss} rows lost or too many"
    yield verdict("pruned_set", "completeness", amiss == 0, text, amiss=amiss)
    kept = [row for row in rows if row["kept"]]
    odd = sum(any(row[name] is None for name in MEASURED) for row in kept) + sum(
        row["reason"] is None for row in rows if not row["kept"]
    )
    yield verdict("pruned_set", "sanity", odd == 0, f"{odd} rows lack values or a reason", odd=odd)
    share = len(kept) / len(rows) if rows else 1.0
    text = f"{len(kept)} of {len(rows)} pictures kept, where a tenth is needed"
    enough = share >= 0.1 or len(rows) < FEW_PICTURES
    yield verdict("pruned_set", "quality_floor", enough, text, kept_share=share)
