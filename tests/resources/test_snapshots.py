"""References go from asset to asset through pointers: a day, a range, or all days of a fan-in."""

from collections.abc import Callable

import dagster as dg
import pytest

from resources.snapshots import SnapshotIOManager
from selfai_pipeline.home import Home
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, Record, Snapshot, TableRef

DAYS = ["2026-01-01", "2026-01-02", "2026-01-03"]
days = dg.DailyPartitionsDefinition(start_date=DAYS[0], end_date="2026-01-04")
AT_ONCE = dg.BackfillPolicy.single_run()
seen: dict[str, Snapshot] = {}
Materialize = Callable[..., dg.ExecuteInProcessResult]


def handed_out(asset: str, partitions: list[str]) -> Snapshot:
    refs = {day: TableRef(asset, day, f"{number:064x}", number) for number, day in enumerate(partitions)}
    return Snapshot(refs, {day: Record(ref, "1", {}, {}) for day, ref in refs.items()})


@dg.asset(partitions_def=days, backfill_policy=AT_ONCE)
def crawled(context: dg.AssetExecutionContext) -> Snapshot:
    return handed_out("crawled", list(context.partition_keys))


@dg.asset(partitions_def=days, backfill_policy=AT_ONCE)
def pruned(context: dg.AssetExecutionContext, crawled: Snapshot) -> Snapshot:
    seen["pruned"] = crawled
    return handed_out("pruned", list(context.partition_keys))


@dg.asset
def table(pruned: Snapshot) -> Snapshot:
    seen["table"] = pruned
    return handed_out("table", [WHOLE])


@dg.asset
def report(table: Snapshot) -> Snapshot:
    seen["report"] = table
    return handed_out("report", [WHOLE])


@pytest.fixture
def materialize(home: Home) -> Materialize:
    seen.clear()

    def run(*assets: dg.AssetsDefinition, **more: object) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [crawled, pruned, table, report],
            selection=list(assets),
            resources={"io_manager": SnapshotIOManager(home=str(home.root))},
            raise_on_error=False,
            **more,
        )

    return run


RANGE = {"dagster/asset_partition_range_start": DAYS[0], "dagster/asset_partition_range_end": DAYS[1]}


def test_what_an_asset_hands_out_becomes_current(materialize: Materialize, store: Store) -> None:
    materialize(crawled, partition_key=DAYS[0])
    record = store.tables.current("crawled", DAYS[0])
    assert record is not None
    assert record.ref == TableRef("crawled", DAYS[0], "0" * 64, 0)
    assert store.tables.partitions("crawled") == [DAYS[0]]


def test_a_day_reads_its_own_day_and_a_range_its_days(materialize: Materialize) -> None:
    materialize(crawled, tags=RANGE)
    materialize(pruned, partition_key=DAYS[1])
    assert list(seen["pruned"].refs) == [DAYS[1]]
    materialize(pruned, tags=RANGE)
    assert list(seen["pruned"].refs) == DAYS[:2]


def test_a_fan_in_reads_every_day_that_there_is(materialize: Materialize) -> None:
    materialize(crawled, pruned, tags=RANGE)
    materialize(table, report)
    assert list(seen["table"].refs) == DAYS[:2]
    assert list(seen["report"].refs) == [WHOLE]


@pytest.mark.parametrize(
    ("asset", "more", "upstream", "partition"),
    [
        (pruned, {"partition_key": DAYS[2]}, "crawled", f", {DAYS[2]}"),
        (report, {}, "table", ", all"),
        (table, {}, "pruned", ""),
    ],
)
def test_without_its_input_an_asset_says_what_to_materialize(
    materialize: Materialize, asset: dg.AssetsDefinition, more: dict[str, str], upstream: str, partition: str
) -> None:
    message = f"{upstream}{partition}: nothing has been materialized here yet. Materialize {upstream} first."
    assert failure_of(materialize(asset, **more)) == ("InputError", message)


def test_a_damaged_pointer_is_an_error_until_its_asset_is_materialized_again(
    materialize: Materialize, store: Store
) -> None:
    materialize(crawled, partition_key=DAYS[0])
    store.files.write(f"tables/crawled/{DAYS[0]}/current.json", b"")
    kind, message = failure_of(materialize(pruned, partition_key=DAYS[0]))
    assert kind == "AlteredVersion"
    assert f"Materialize crawled for {DAYS[0]} again" in message
    assert materialize(crawled, partition_key=DAYS[0]).success
    assert materialize(pruned, partition_key=DAYS[0]).success


def failure_of(result: dg.ExecuteInProcessResult) -> tuple[str, str]:
    """The name of the error that a step failed with, and its message."""
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    cause = failure.step_failure_data.error.cause
    return cause.cls_name, cause.message.strip().partition(": ")[2]
