"""What all stages share: partitions, policy of backfills, and the way a version is handed out."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import dagster as dg

from selfai_pipeline.environment import Settings
from selfai_pipeline.errors import InputError, UndefinedMetric
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, CheckpointRef, Record, Ref, Snapshot, TableRef

OWNERS = ["team:selfai"]
BY_RANGE = dg.BackfillPolicy.single_run()
crawl_days = dg.DailyPartitionsDefinition(
    start_date=os.environ.get("SELFAI_FIRST_DAY", "2026-01-01"), end_offset=1
)
GPU_TAGS = {"dagster-k8s/config": {"container_config": {"resources": {"limits": {"nvidia.com/gpu": "1"}}}}}
FILES_URL = f"http://127.0.0.1:{os.environ.get('SELFAI_FILES_PORT', '3080')}"


def number(name: str, value: float) -> float:
    """A finite Python float for metadata.

    Raises:
        UndefinedMetric: the value is not finite.
    """
    plain = float(value)
    if not math.isfinite(plain):
        raise UndefinedMetric(f"{name} is {plain}: it cannot be recorded as a figure.")
    return plain


def needed(partition: str, snapshot: Snapshot) -> None:
    """Raises InputError where the upstream partition of a day was never materialized."""
    if partition not in snapshot.refs:
        raise InputError(
            "nothing has been materialized here yet",
            where=f"{snapshot.asset}, {partition}",
            mend=f"Materialize {snapshot.asset} for {partition} first.",
        )


def materialized(
    context: dg.AssetExecutionContext,
    refs: Mapping[str, Ref],
    *,
    inputs: Sequence[Snapshot],
    settings: Settings,
    external: Mapping[str, str] | None = None,
    metadata: Mapping[str, Mapping[str, Any]] | None = None,
) -> Snapshot:
    """Hand versions out: a record a partition for the pointer, and metadata on each materialization.

    Args:
        refs: the version of each partition (`WHOLE` for an asset without partitions).
        inputs: the snapshots that were read. A partitioned asset records the same day of a partitioned input.
        settings: the configuration that was used.
        external: hashes of what came from outside the graph.
        metadata: further metadata by partition.
    """
    code_version = context.assets_def.specs_by_key[context.asset_key].code_version or ""
    records = {}
    for partition, ref in refs.items():
        made_from = {
            snapshot.asset: {
                name: sha256
                for name, sha256 in snapshot.hashes.items()
                if partition == WHOLE or name in (partition, WHOLE)
            }
            for snapshot in inputs
        }
        records[partition] = Record(
            ref=ref,
            code_version=code_version,
            settings=settings.model_dump(mode="json"),
            inputs=made_from,
            external=external or {},
            run_id=context.run.run_id,
        )
        values = {
            "dagster/row_count": ref.rows,
            "sha256": ref.sha256,
            "made_from": dg.MetadataValue.json(made_from),
            **((metadata or {}).get(partition, {})),
        }
        context.add_asset_metadata(values, partition_key=None if partition == WHOLE else partition)
    if list(refs) == [WHOLE] or len(refs) == 1:
        context.set_data_version(context.asset_key, dg.DataVersion(next(iter(refs.values())).sha256))
    return Snapshot(dict(refs), records)


AnyRef = TypeVar("AnyRef", TableRef, CheckpointRef)


def source_of(store: Store, ref: AnyRef, upstream: str) -> AnyRef:
    """The version of `upstream`, a table for a table, that the current version `ref` was made from.

    Its `rows` are not known from a record: -1.
    """
    record = store.tables.current(ref.asset, ref.partition)
    assert record is not None, f"{ref.asset} has no pointer"
    ((partition, sha256),) = record.inputs[upstream].items()
    return type(ref)(upstream, partition, sha256, rows=-1)


def preview_link(relative: str) -> dg.UrlMetadataValue:
    """A link to a file under `previews/` or `reports/`, served on loopback by `selfai up`."""
    return dg.MetadataValue.url(f"{FILES_URL}/{relative}")


def picture(png: bytes) -> dg.MarkdownMetadataValue:
    """A plot (never a picture of a face) shown inside the metadata."""
    import base64

    return dg.MetadataValue.md(f"![plot](data:image/png;base64,{base64.b64encode(png).decode()})")


def verdict(asset: str, name: str, passed: bool, description: str, **figures: float) -> dg.AssetCheckResult:
    """The result of a check, with the figures that it was judged by."""
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=name,
        passed=bool(passed),
        description=description,
        metadata={key: number(key, value) for key, value in figures.items()},
    )


def check_specs(
    asset: str,
    *,
    completeness: str,
    sanity: str,
    floor: str,
    partitions: dg.PartitionsDefinition[str] | None = None,
) -> list[dg.AssetCheckSpec]:
    """The three families of checks, all blocking; the texts say what each holds."""
    texts = {"completeness": completeness, "sanity": sanity, "quality_floor": floor}
    return [
        dg.AssetCheckSpec(name, asset=asset, description=text, blocking=True, partitions_def=partitions)
        for name, text in texts.items()
    ]
