"""What all stages share: partitions, policy of backfills, handing versions out and judging them."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import dagster as dg

from selfai_pipeline.environment import PORTS, Settings
from selfai_pipeline.errors import InputError, MissingVersion, UndefinedMetric
from selfai_pipeline.store import Store
from selfai_pipeline.tables import CHECKS, WHOLE, CheckpointRef, Record, Ref, Snapshot, TableRef

OWNERS = ["team:selfai"]
FEW_PICTURES = 20
"""Below so many a share says nothing: a day with three pictures and no face is no defect."""

BY_RANGE = dg.BackfillPolicy.single_run()
crawl_days = dg.DailyPartitionsDefinition(
    start_date=os.environ.get("SELFAI_FIRST_DAY", "2026-01-01"), end_offset=1
)
GPU_TAGS = {"dagster-k8s/config": {"container_config": {"resources": {"limits": {"nvidia.com/gpu": "1"}}}}}
FILES_URL = f"http://127.0.0.1:{os.environ.get('SELFAI_FILES_PORT', PORTS['SELFAI_FILES_PORT'])}"


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
    external: Mapping[str, Mapping[str, str]] | None = None,
    metadata: Mapping[str, Mapping[str, Any]] | None = None,
) -> Snapshot:
    """Hand versions out: a record a partition for the pointer, and metadata on each materialization.

    Args:
        refs: the version of each partition (`WHOLE` for an asset without partitions).
        inputs: the snapshots that were read. A partitioned asset records the same day of a partitioned input.
        settings: the configuration that was used.
        external: by partition, hashes of what came from outside the graph.
        metadata: further metadata by partition.
    """
    records = {}
    for partition, ref in refs.items():
        records[partition] = new_record(
            context, ref, inputs=inputs, settings=settings, external=(external or {}).get(partition, {})
        )
        # The UI shows them in this order: what a person looks for stands above the hashes.
        values = {
            **((metadata or {}).get(partition, {})),
            "dagster/row_count": ref.rows,
            "sha256": ref.sha256,
            "made_from": dg.MetadataValue.json(records[partition].inputs),
            **lineage_links(ref, inputs),
        }
        context.add_asset_metadata(values, partition_key=None if partition == WHOLE else partition)
    if list(refs) == [WHOLE] or len(refs) == 1:
        context.set_data_version(context.asset_key, dg.DataVersion(next(iter(refs.values())).sha256))
    return Snapshot(dict(refs), records)


def new_record(
    context: dg.AssetExecutionContext,
    ref: Ref,
    *,
    inputs: Sequence[Snapshot],
    settings: Settings,
    external: Mapping[str, str] | None = None,
) -> Record:
    """What the version of a partition was made from; the arguments are as in `materialized`."""
    return Record(
        ref=ref,
        code_version=context.assets_def.specs_by_key[context.asset_key].code_version or "",
        settings=settings.recorded(),
        inputs={
            snapshot.asset: {
                name: sha256
                for name, sha256 in snapshot.hashes.items()
                if ref.partition == WHOLE or name in (ref.partition, WHOLE)
            }
            for snapshot in inputs
        },
        external=external or {},
        run_id=context.run.run_id,
    )


def lineage_links(ref: Ref, inputs: Sequence[Snapshot]) -> dict[str, dg.MetadataValue[Any]]:
    """The audit page of a version; of a checkpoint those of the versions that it was made from, too."""
    links: dict[str, dg.MetadataValue[Any]] = {"audit": dg.MetadataValue.url(audit_url(ref))}
    if isinstance(ref, CheckpointRef):
        lines = [
            f"- [{one.asset} {one.sha256[:12]}]({audit_url(one)})"
            for snapshot in inputs
            for one in snapshot.refs.values()
        ]
        links["inputs"] = dg.MetadataValue.md("\n".join(lines))
    return links


def audit_url(ref: Ref) -> str:
    """The page that `selfai up` serves about where a version came from."""
    return f"{FILES_URL}/audit/{ref.asset}/{ref.partition}/{ref.sha256}"


AnyRef = TypeVar("AnyRef", TableRef, CheckpointRef)


def record_of(store: Store, ref: Ref) -> Record:
    """What the version `ref` was made from, whether it is the current one or one before it.

    Raises:
        MissingVersion: no record of its partition names the version.
    """
    current = store.tables.current(ref.asset, ref.partition)
    if current and current.ref.sha256 == ref.sha256:
        return current
    for record in store.tables.records(ref.asset, ref.partition):
        if record.ref.sha256 == ref.sha256:
            return record
    raise MissingVersion(
        f"{ref.asset}, {ref.partition}: no record says what the version {ref.sha256} was made from. "
        f"Materialize {ref.asset} again."
    )


def source_of(store: Store, ref: AnyRef, upstream: str) -> AnyRef:
    """The version of `upstream`, a table for a table, that the version `ref` was made from.

    Its `rows` are not known from a record: -1.

    Raises:
        MissingVersion: no record names `ref`.
    """
    ((partition, sha256),) = record_of(store, ref).inputs[upstream].items()
    return type(ref)(upstream, partition, sha256, rows=-1)


def noise_ceiling(facts: Mapping[str, Any]) -> dict[str, dg.MetadataValue[Any]]:
    """The noise ceiling among the facts of a label table, or why it is not known: it belongs beside every
    correlation."""
    ceiling = facts.get("noise_ceiling")
    if ceiling is None:
        return {"noise_ceiling": dg.MetadataValue.text(f"not known: {facts.get('noise_ceiling_reason')}")}
    return {"noise_ceiling": dg.MetadataValue.float(number("noise_ceiling", ceiling))}


def preview_link(relative: str) -> dg.UrlMetadataValue:
    """A link to a file under `previews/` or `reports/`, served on loopback by `selfai up`."""
    return dg.MetadataValue.url(f"{FILES_URL}/{relative}")


def as_metadata(figures: Mapping[str, Any]) -> dict[str, dg.MetadataValue[Any]]:
    """Figures by name as metadata: numbers as such, mappings as JSON."""
    return {
        name: dg.MetadataValue.json(value)
        if isinstance(value, Mapping)
        else dg.MetadataValue.int(value)
        if isinstance(value, int)
        else dg.MetadataValue.float(number(name, value))
        for name, value in figures.items()
    }


def picture(png: bytes) -> dg.MarkdownMetadataValue:
    """A plot (never a picture of a face) shown inside the metadata."""
    import base64

    return dg.MetadataValue.md(f"![plot](data:image/png;base64,{base64.b64encode(png).decode()})")


def verdict(
    asset: str,
    name: str,
    passed: bool,
    description: str,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
    /,
    **figures: float,
) -> dg.AssetCheckResult:
    """The result of a check, with the figures that it was judged by.

    A failure with the severity WARN is shown and made anew by the next run, and stops nothing behind it.
    """
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=name,
        passed=bool(passed),
        severity=severity,
        description=description,
        metadata={key: number(key, value) for key, value in figures.items()},
    )


def judged(store: Store, ref: Ref, results: Iterable[dg.AssetCheckResult]) -> list[dg.AssetCheckResult]:
    """Record with the version `ref` what its checks found, and hand the results on.

    Every check goes through here: what has not passed all of them is out of date, so that the next
    `selfai run` makes it and judges it again, and where that fails nothing behind it is run.
    """
    found = list(results)
    store.tables.judge(ref, {str(result.check_name): result.passed for result in found})
    return found


DayVerdicts = Callable[[TableRef, Store], Iterable[dg.AssetCheckResult]]


def judged_by_day(
    context: dg.AssetCheckExecutionContext, snapshot: Snapshot, store: Store, verdicts: DayVerdicts
) -> Iterator[dg.AssetCheckResult | dg.AssetCheckEvaluation]:
    """Judge each day on its own, so that none hides another.

    In a run over a range of days each day gets an evaluation of its own, and the range one result a check
    that fails where any day does and names those days.

    Args:
        verdicts: the results of all checks for the version of one day.
    """
    days = {day: judged(store, ref, verdicts(ref, store)) for day, ref in snapshot.tables.items()}
    if context.has_partition_key:
        for results in days.values():
            yield from results
        return
    for day, results in days.items():
        for result in results:
            yield _evaluation(context, result, day)
    for of_check in zip(*days.values(), strict=True):
        yield _over_days(dict(zip(days, of_check, strict=True)))


def _evaluation(
    context: dg.AssetCheckExecutionContext, result: dg.AssetCheckResult, day: str
) -> dg.AssetCheckEvaluation:
    """The evaluation of one day of a range: Dagster makes one of a result only where a run has one day.

    It does not block, or each failure would count twice: the result over the range does.
    """
    # Without the materialization that it targets, an evaluation is taken for one of an older version; the
    # class that names it is in no public module.
    from dagster._core.definitions.asset_checks.asset_check_evaluation import (
        AssetCheckEvaluationTargetMaterializationData,
    )

    assert result.asset_key is not None
    assert result.check_name is not None
    query = dg.AssetRecordsFilter(asset_key=result.asset_key, asset_partitions=[day])
    latest = context.instance.fetch_materializations(query, limit=1).records
    targets = [
        AssetCheckEvaluationTargetMaterializationData(
            storage_id=one.storage_id, run_id=one.event_log_entry.run_id, timestamp=one.timestamp
        )
        for one in latest
    ]
    return dg.AssetCheckEvaluation(
        asset_key=result.asset_key,
        check_name=result.check_name,
        passed=result.passed,
        metadata=result.metadata,
        target_materialization_data=targets[0] if targets else None,
        severity=result.severity,
        description=result.description,
        partition=day,
    )


def _over_days(results: Mapping[str, dg.AssetCheckResult]) -> dg.AssetCheckResult:
    """One result over several days: failed where one of them did, with the days in words and as a table.

    It is a warning where no day that failed is more than that.
    """
    failed = [f"{day}: {result.description}" for day, result in results.items() if not result.passed]
    severities = {result.severity for result in results.values() if not result.passed}
    first = next(iter(results.values()))
    rows = [
        dg.TableRecord({"day": day, "passed": result.passed, "found": result.description or ""})
        for day, result in results.items()
    ]
    return dg.AssetCheckResult(
        asset_key=first.asset_key,
        check_name=first.check_name,
        passed=not failed,
        severity=severities.pop() if len(severities) == 1 else dg.AssetCheckSeverity.ERROR,
        description="; ".join(failed) or "holds on every day",
        metadata={"days": dg.MetadataValue.table(rows)},
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
    texts = (completeness, sanity, floor)
    return [
        dg.AssetCheckSpec(name, asset=asset, description=text, blocking=True, partitions_def=partitions)
        for name, text in zip(CHECKS, texts, strict=True)
    ]
