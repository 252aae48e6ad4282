"""What `dagster.yaml` and the policies promise, on a real SQLite instance with its webserver and daemon.

The assets here only wait: what is under test is who may run, who is tried again and what the UI is told.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
from dagster_graphql import DagsterGraphQLClient

from resources.instance import close_dead_runs

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ALL_ASSETS = "__ASSET_JOB"
LONG = 120.0
DEFINITIONS = """
import time
import dagster as dg
from assets.policies import with_policies
from selfai_pipeline.environment import Environment

class Waiting(dg.Config):
    seconds: float

@dg.asset(pool="gpu")
def left(config: Waiting):
    time.sleep(config.seconds)

@dg.asset(pool="gpu")
def right(config: Waiting):
    time.sleep(config.seconds)

@dg.asset
def broken():
    raise ValueError("a defect")

@dg.asset(group_name="data")
def made_daily(): ...

@dg.asset(group_name="evaluation")
def evaluation_report(): ...

defs = dg.Definitions(
    assets=with_policies([left, right, broken, made_daily, evaluation_report], Environment.LOCAL),
    executor=dg.in_process_executor,
)
"""
FRESHNESS = """
query ($asset: AssetKeyInput!) {
  assetNodeOrError(assetKey: $asset) {
    ... on AssetNode {
      freshnessStatusInfo { freshnessStatus }
      internalFreshnessPolicy { ... on TimeWindowFreshnessPolicy { failWindowSeconds warnWindowSeconds } }
    }
  }
}
"""


def eventually(what: Callable[[], Any], *, seconds: float = 90) -> Any:
    """The first truthy answer."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := what():
            return answer
        time.sleep(0.1)
    raise AssertionError("it did not happen")


@dataclass(frozen=True)
class Running:
    """An instance with its webserver and daemon; runs are asked for and canceled as the UI does."""

    instance: dg.DagsterInstance
    ui: DagsterGraphQLClient

    def ask(self, asset: str, *, seconds: float | None = None) -> str:
        config = {} if seconds is None else {"ops": {asset: {"config": {"seconds": seconds}}}}
        return str(self.ui.submit_job_execution(ALL_ASSETS, run_config=config, asset_selection=[asset]))

    def run(self, run_id: str) -> dg.DagsterRun:
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return run

    def until(self, run_id: str, status: dg.DagsterRunStatus) -> dg.DagsterRun:
        eventually(lambda: self.run(run_id).status is status)
        return self.run(run_id)

    def moment(self, run_id: str, kind: dg.DagsterEventType) -> float:
        """When the run's step first said so, in seconds since 1970."""
        return float(eventually(lambda: self.instance.all_logs(run_id, of_type=kind))[0].timestamp)

    def kill(self, run_id: str) -> None:
        """Kill the process of a run in the middle of its step, as a lack of memory would."""
        self.moment(run_id, dg.DagsterEventType.STEP_START)
        (started,) = [
            entry.dagster_event.engine_event_data.metadata["pid"].value
            for entry in self.instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
            if entry.dagster_event and "Started process for run" in (entry.dagster_event.message or "")
        ]
        process = psutil.Process(int(started))
        process.kill()
        eventually(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("dagster")
    shutil.copyfile(ROOT / "dagster.yaml", home / "dagster.yaml")
    code = home / "waiting.py"
    code.write_text(DEFINITIONS)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "DAGSTER_EVENT_LOG_CONSUMER_DAEMON_INTERVAL_SECONDS": "1",
        "FRESHNESS_DAEMON_INTERVAL_SECONDS": "1",
    }
    scripts = Path(sys.executable).parent
    commands = [
        [str(scripts / "dagster-webserver"), "-h", "127.0.0.1", "-p", str(port), "-f", str(code)],
        [str(scripts / "dagster-daemon"), "run", "-f", str(code)],
    ]
    with dg.DagsterInstance.from_config(str(home)) as instance:
        # Two processes that make the same fresh database at once race in its migration.
        instance.get_runs()
        instance.event_log_storage.get_maximum_record_id()
        assert instance.schedule_storage is not None
        services = []
        try:
            for name, command in zip(("web", "daemon"), commands, strict=True):
                with (home / f"{name}.log").open("wb") as log:
                    services.append(
                        subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
                    )
            eventually(lambda: answers(port))
            yield Running(instance, DagsterGraphQLClient("127.0.0.1", port_number=port))
        finally:
            for service in services:
                service.terminate()
            for service in services:
                service.wait()


def answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def test_two_gpu_assets_asked_for_at_once_run_one_after_the_other(running: Running) -> None:
    asked = [running.ask("left", seconds=6), running.ask("right", seconds=6)]
    for run_id in asked:
        running.until(run_id, dg.DagsterRunStatus.SUCCESS)
    starts = [running.moment(run_id, dg.DagsterEventType.STEP_START) for run_id in asked]
    ends = [running.moment(run_id, dg.DagsterEventType.STEP_SUCCESS) for run_id in asked]
    queued = [running.moment(run_id, dg.DagsterEventType.PIPELINE_ENQUEUED) for run_id in asked]
    assert max(queued) < min(ends), "they were not asked for at once"
    assert min(ends) <= max(starts)


def test_a_canceled_run_gives_its_slot_to_the_next(running: Running) -> None:
    canceled = running.ask("left", seconds=LONG)
    running.moment(canceled, dg.DagsterEventType.STEP_START)
    following = running.ask("right", seconds=0)
    # Asked for later and of no pool: when it has run, the daemon has passed over the one that waits.
    running.until(running.ask("made_daily"), dg.DagsterRunStatus.SUCCESS)
    assert running.instance.all_logs(following, of_type=dg.DagsterEventType.STEP_START) == []
    running.ui.terminate_run(canceled)
    running.until(following, dg.DagsterRunStatus.SUCCESS)
    assert running.run(canceled).status is dg.DagsterRunStatus.CANCELED
    ended = running.moment(canceled, dg.DagsterEventType.STEP_FAILURE)
    assert running.moment(following, dg.DagsterEventType.STEP_START) >= ended
    assert running.instance.event_log_storage.get_concurrency_info("gpu").active_slot_count == 0


def test_a_lost_run_is_tried_again_once(running: Running) -> None:
    lost = running.ask("left", seconds=LONG)
    running.kill(lost)
    assert close_dead_runs(running.instance) == [lost]
    assert running.run(lost).tags["dagster/will_retry"] == "true"
    (again,) = eventually(lambda: children(running, lost))
    running.kill(again.run_id)
    assert close_dead_runs(running.instance) == [again.run_id]
    assert running.run(again.run_id).tags["dagster/will_retry"] == "false"
    assert running.instance.event_log_storage.get_concurrency_info("gpu").active_slot_count == 0
    # The daemon takes failures in the order in which they came: after this one it has seen the second kill.
    running.until(running.ask("made_daily"), dg.DagsterRunStatus.SUCCESS)
    assert children(running, again.run_id) == []
    assert len(children(running, lost)) == 1


def test_a_code_failure_is_not_tried_again(running: Running) -> None:
    failed = running.until(running.ask("broken"), dg.DagsterRunStatus.FAILURE)
    said = "Not retrying run since it failed due to an asset or op failure"
    eventually(
        lambda: any(
            said in entry.message
            for entry in running.instance.all_logs(failed.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
        )
    )
    assert children(running, failed.run_id) == []


def children(running: Running, run_id: str) -> list[dg.DagsterRun]:
    return [run for run in running.instance.get_runs() if run.parent_run_id == run_id]


def test_freshness_is_evaluated_by_the_daemon_and_shown_in_the_ui(running: Running) -> None:
    running.until(running.ask("made_daily"), dg.DagsterRunStatus.SUCCESS)

    def shown(asset: str) -> Any:
        return running.ui._execute(FRESHNESS, {"asset": {"path": [asset]}})["assetNodeOrError"]

    eventually(lambda: (shown("made_daily")["freshnessStatusInfo"] or {}).get("freshnessStatus") == "HEALTHY")
    hours = 3600
    assert shown("made_daily")["internalFreshnessPolicy"] == {
        "failWindowSeconds": 50 * hours,
        "warnWindowSeconds": 26 * hours,
    }
    assert shown("evaluation_report")["internalFreshnessPolicy"] is None
    assert shown("left")["internalFreshnessPolicy"] is None
