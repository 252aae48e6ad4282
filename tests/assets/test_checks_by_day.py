"""Checks of a run over several days: each day is judged, recorded and named on its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.pruned_set import pruned_set
from assets.raw_crawl import raw_crawl

CHECKS = ("completeness", "sanity", "quality_floor")


def statuses(work: Any, asset: str) -> dict[tuple[str, str], str]:
    """(check, day) -> status, as Dagster knows it for the latest materialization."""
    keys = [dg.AssetCheckKey(dg.AssetKey(asset), name) for name in CHECKS]
    infos = work.instance.event_log_storage.get_asset_check_partition_info(keys)
    return {
        (info.check_key.name, info.partition_key): info.latest_execution_status.value
        for info in infos
        if info.partition_key is not None and info.is_current
    }


@pytest.fixture
def two_days(work: Any, tmp_path: Path, picture: Callable[..., bytes]) -> Any:
    """A first day of nothing but junk and a second of nothing but good pictures, crawled in one run."""
    later = tmp_path / "later"
    later.mkdir()
    for number in range(20):
        (work.folder / f"{number}.png").write_bytes(picture(size=(20, 20), seed=number))
    for number in range(3):
        (later / f"{number}.png").write_bytes(picture(seed=number))
    work.declare(work.source(), work.source(name="later", path=str(later), day=work.next_day))
    assert work.materialize(raw_crawl, days=[work.day, work.next_day]).success
    return work


def test_a_good_day_does_not_hide_a_bad_one(two_days: Any) -> None:
    days = [two_days.day, two_days.next_day]
    result = two_days.materialize(pruned_set, days=days)
    assert not result.success
    expected = {(name, day): "SUCCEEDED" for name in CHECKS for day in days}
    expected["quality_floor", two_days.day] = "FAILED"
    assert statuses(two_days, "pruned_set") == expected
    (over_the_range,) = [
        one
        for one in result.get_asset_check_evaluations()
        if one.partition is None and one.check_name == "quality_floor"
    ]
    assert not over_the_range.passed
    assert over_the_range.description == (f"{two_days.day}: 0 of 20 pictures kept, where a tenth is needed")
    table = over_the_range.metadata["days"].records
    assert [(record.data["day"], record.data["passed"]) for record in table] == [
        (two_days.day, False),
        (two_days.next_day, True),
    ]


def test_the_verdict_of_each_day_stays_with_its_version(two_days: Any) -> None:
    days = [two_days.day, two_days.next_day]
    two_days.materialize(pruned_set, days=days)
    verdicts = {day: two_days.store.tables.verdicts(two_days.record("pruned_set", day).ref) for day in days}
    assert verdicts == {
        two_days.day: {"completeness": True, "sanity": True, "quality_floor": False},
        two_days.next_day: {"completeness": True, "sanity": True, "quality_floor": True},
    }


def test_a_row_too_many_on_one_day_does_not_make_up_for_one_lost_on_another(
    two_days: Any, spoil: Any
) -> None:
    def change(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [*rows, rows[0]] if rows[0]["source"] == "mine" else rows[1:]

    spoil("selfai_pipeline.pictures.prune", "prune_day", change)
    two_days.materialize(pruned_set, days=[two_days.day, two_days.next_day])
    found = statuses(two_days, "pruned_set")
    assert {found["completeness", day] for day in (two_days.day, two_days.next_day)} == {"FAILED"}


@pytest.mark.parametrize("as_range", [True, False])
def test_a_single_day_is_recorded_as_itself_however_it_was_asked_for(two_days: Any, as_range: bool) -> None:
    day = two_days.next_day
    two_days.materialize(pruned_set, days=[day, day] if as_range else [day])
    assert statuses(two_days, "pruned_set") == {(name, day): "SUCCEEDED" for name in CHECKS}
