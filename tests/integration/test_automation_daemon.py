"""A real daemon over a real SQLite instance: each automation is switched on, fires, and does its work."""

import datetime
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
from dagster._core.scheduler.instigation import TickStatus
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget

from assets.automation import CATCH_UP_TAG, REFRESH_TAG, Memory
from assets.graph import ALL_ASSETS, ALL_CHECKS, DAILY, LABELS, stale_days
from resources.environments import resources_for
from selfai_pipeline.environment import Environment
from selfai_pipeline.home import Home, install_instance_file
from selfai_pipeline.sources.gallery.sample import prepare_sample
from selfai_pipeline.sources.gallery.server import SERVED_FOLDER, gallery_folder
from selfai_pipeline.sources.gallery.settings import GallerySettings
from selfai_pipeline.sources.settings import FolderSource, RatingsFile, save_sources
from selfai_pipeline.store import Store

MODULE = "selfai_pipeline.definitions"

pytestmark = pytest.mark.slow


def days_ago(number: int) -> str:
    return (datetime.datetime.now(datetime.UTC).date() - datetime.timedelta(days=number)).isoformat()


@pytest.fixture
def first() -> str:
    """The only day that has pictures."""
    return days_ago(20)


@pytest.fixture
def instance(first: str, home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """The instance of the sample, over a home with rated portraits of one day and nothing since."""
    install_instance_file(home)
    # Which faces fall to which split hangs on the day; of so many each split has enough.
    settings = GallerySettings(days=[first], portraits_per_day=100, picture_size=240)
    prepare_sample(home, settings)
    served = gallery_folder(home, settings) / SERVED_FOLDER / first
    ratings = RatingsFile(path=str(home.imports / "sample-gallery" / "ratings.csv"))
    save_sources(
        home.sources_file, [FolderSource(name="mine", path=str(served), day=first, ratings=[ratings])]
    )
    for name, value in {
        "DAGSTER_HOME": str(home.dagster),
        "SELFAI_DAILY_CRON": "* * * * *",
        "SELFAI_CATCH_UP_DAYS": "3",
        "SELFAI_CATCH_UP_BOUND": "2",
    }.items():
        monkeypatch.setenv(name, value)
    with dg.DagsterInstance.get() as instance:
        made = dg.materialize(
            [*ALL_ASSETS, *ALL_CHECKS],
            selection=dg.AssetSelection.assets(*DAILY),
            partition_key=first,
            instance=instance,
            resources=resources_for(Environment.SAMPLE, home),
        )
        assert made.success
        yield instance


@contextmanager
def daemon(log: Path) -> Iterator[None]:
    """`dagster-daemon run`, ended with every process that it started."""
    command = [str(Path(sys.executable).with_name("dagster-daemon")), "run", "-m", MODULE]
    with log.open("wb") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=sink, env=dict(os.environ))
        try:
            yield
        finally:
            started = psutil.Process(process.pid).children(recursive=True)
            process.terminate()
            process.wait(timeout=30)
            for child in started:
                if child.is_running():
                    child.kill()
            psutil.wait_procs(started, timeout=10)


def wait_for(what: str, found: Callable[[], Any], log: Path, *, seconds: float = 80) -> Any:
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline, f"no {what}; the daemon said:\n{log.read_text()[-6000:]}"
        time.sleep(0.5)
    return result


def test_each_fires_once_it_is_switched_on(
    instance: dg.DagsterInstance, first: str, home: Home, tmp_path: Path
) -> None:
    lately = [days_ago(number) for number in (3, 2, 1)]
    log = tmp_path / "daemon.log"
    store = Store.open(home)
    with WorkspaceProcessContext(instance, ModuleTarget(MODULE, None, None, None)) as workspace:
        (location,) = workspace.create_request_context().code_locations
        (repository,) = location.get_repositories().values()
        sensors = {sensor.name: sensor for sensor in repository.get_sensors()}
        (schedule,) = repository.get_schedules()
    of_themselves = [
        name for name, one in sensors.items() if one.get_current_instigator_state(None).is_running
    ]
    assert of_themselves == ["lost_runs"]

    def switch_on(name: str) -> None:
        """As the UI does, with a memory that makes the sensor due at once."""
        state = instance.start_sensor(sensors[name])
        cursor = Memory(since=datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=8))
        data = state.instigator_data._replace(cursor=cursor.model_dump_json())  # type: ignore[union-attr]
        instance.update_instigator_state(state.with_data(data))

    def ticks(one: Any, status: TickStatus = TickStatus.SUCCESS) -> list[Any]:
        return list(instance.get_ticks(one.get_remote_origin_id(), one.selector_id, statuses=[status]))

    def runs_of(tag: str) -> list[dg.DagsterRun]:
        return [run for run in instance.get_runs() if tag in run.tags]

    def all_succeeded(tag: str) -> bool:
        runs = runs_of(tag)
        failed = [run.run_id for run in runs if run.is_failure_or_canceled]
        assert not failed, "\n".join(
            str(entry.dagster_event.step_failure_data.error)
            for run_id in failed
            for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
            if entry.dagster_event is not None
        )
        return bool(runs) and all(run.is_success for run in runs)

    switch_on("nightly_catch_up")
    switch_on("weekly_refresh")
    with daemon(log):
        for name in ("nightly_catch_up", "weekly_refresh"):
            wait_for(f"tick of {name}", lambda name=name: ticks(sensors[name]), log)
        # Its next step would be the training.
        weekly = sensors["weekly_refresh"]
        instance.stop_sensor(weekly.get_remote_origin_id(), weekly.selector_id, weekly)
        state = instance.start_schedule(schedule)
        data = state.instigator_data._replace(start_timestamp=time.time() - 60)  # type: ignore[union-attr]
        instance.update_instigator_state(state.with_data(data))
        wait_for("daily crawl", lambda: ticks(schedule), log)
        instance.stop_schedule(schedule.get_remote_origin_id(), schedule.selector_id, schedule)
        for tag in ("dagster/schedule_name", REFRESH_TAG, CATCH_UP_TAG):
            wait_for(f"end of the runs with {tag}", lambda tag=tag: all_succeeded(tag), log)
        wait_for("closing of lost runs", lambda: ticks(sensors["lost_runs"], TickStatus.SKIPPED), log)

    (backfill,) = instance.get_backfills()
    assert {run.tags["dagster/backfill"] for run in runs_of(CATCH_UP_TAG)} == {backfill.backfill_id}
    assert store.tables.partitions("aligned_faces") == [first, *lately]
    assert stale_days(lately, store=store) == []
    (labels,) = runs_of(REFRESH_TAG)
    assert labels.asset_selection == {asset.key for asset in LABELS}
    judged = store.tables.current("balanced_label_table")
    assert judged is not None
    assert store.tables.has_passed(judged.ref)
