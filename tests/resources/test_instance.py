"""A run whose process was killed is closed, so that the next one does not wait for its slot for ever."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._core.events import EngineEventData

from resources.instance import close_dead_runs

POOL = """
concurrency:
  pools:
    default_limit: 1
telemetry:
  enabled: false
"""
HOLDER = """
import sys, time
from pathlib import Path
import dagster as dg

@dg.asset(pool="gpu")
def held():
    Path(sys.argv[1]).write_text("holds the slot")
    time.sleep(float(sys.argv[2]))

with dg.DagsterInstance.get() as instance:
    dg.materialize([held], instance=instance)
"""


@dg.asset(pool="gpu")
def following() -> None:
    """Needs the slot that `held` holds."""


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster.yaml").write_text(POOL)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as instance:
        yield instance


def started_holder(folder: Path, *, seconds: float = 120) -> subprocess.Popen[bytes]:
    """A process with a run that holds the one slot of the pool."""
    marker = folder / "marker"
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(marker), str(seconds)])
    while not marker.exists():
        assert process.poll() is None
        time.sleep(0.05)
    return process


def only_run(instance: dg.DagsterInstance) -> dg.DagsterRun:
    (run,) = instance.get_runs()
    return run


def test_after_a_kill_the_next_run_gets_the_slot(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    process = started_holder(tmp_path)
    process.kill()
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.05)
    dead = only_run(instance)
    assert dead.status is dg.DagsterRunStatus.STARTED

    assert close_dead_runs(instance) == [dead.run_id]
    process.wait()
    assert only_run(instance).status is dg.DagsterRunStatus.FAILURE
    (failure,) = instance.all_logs(dead.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert "it was killed, or the machine was restarted" in failure.message
    assert dg.materialize([following], instance=instance).success
    assert close_dead_runs(instance) == []


def test_a_run_that_was_being_canceled_ends_as_canceled(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    process = started_holder(tmp_path)
    instance.report_run_canceling(only_run(instance))
    process.kill()
    process.wait()
    assert close_dead_runs(instance) == [only_run(instance).run_id]
    assert only_run(instance).status is dg.DagsterRunStatus.CANCELED


def test_a_process_that_got_the_number_later_is_another(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = started_holder(tmp_path)
    try:
        later = time.time() + 3600
        monkeypatch.setattr(psutil.Process, "create_time", lambda self: later)
        assert close_dead_runs(instance) == [only_run(instance).run_id]
    finally:
        process.kill()
        process.wait()


def test_a_clock_that_is_set_forward_makes_no_run_dead_that_gives_signs_after_it(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = started_holder(tmp_path)
    try:
        began = psutil.Process(process.pid).create_time()
        # The system counts from the moment of the start of the machine, which moves with the clock.
        monkeypatch.setattr(psutil.Process, "create_time", lambda self: began + 3600)
        monkeypatch.setattr(time, "time", lambda real=time.time: real() + 3600)
        instance.report_engine_event("an epoch is done", only_run(instance))
        assert close_dead_runs(instance) == []
    finally:
        process.kill()
        process.wait()


def test_a_run_that_lives_is_left_alone(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    process = started_holder(tmp_path, seconds=3)
    assert close_dead_runs(instance) == []
    assert process.wait() == 0
    assert only_run(instance).status is dg.DagsterRunStatus.SUCCESS


def test_a_run_that_named_no_process_is_left_alone(instance: dg.DagsterInstance) -> None:
    job = dg.Definitions([following]).resolve_implicit_global_asset_job_def()
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert close_dead_runs(instance) == []
    assert only_run(instance).run_id == run.run_id


def test_an_instance_that_may_have_other_machines_is_left_alone() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with dg.DagsterInstance.ephemeral() as instance:
        job = dg.Definitions([following]).resolve_implicit_global_asset_job_def()
        run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        instance.report_engine_event("working", run, EngineEventData.in_process(gone.pid))
        assert close_dead_runs(instance) == []
