"""Work goes over processes and comes back in order; what ends early is told, and leaves no process behind.

What the processes do is taken from the standard library, since they import it by its name.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from operator import truediv
from pathlib import Path

import psutil
import pytest

from selfai_pipeline.errors import MissingVersion, PassingTrouble
from selfai_pipeline.home import Home
from selfai_pipeline.picture_store import PictureStore
from selfai_pipeline.store import Store
from selfai_pipeline.workers import WorkerKilled, WorkerLost, map_in_processes

POWERS = partial(partial, pow, 2)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_come_in_the_order_of_the_jobs(workers: int) -> None:
    results = list(map_in_processes(POWERS, range(400), workers=workers))
    assert results == [2**job for job in range(400)]


def test_no_jobs_start_no_process() -> None:
    assert list(map_in_processes(partial(partial, os._exit), [], workers=2)) == []


def test_each_process_works_on_one_thread_and_ends() -> None:
    asked = map_in_processes(partial(partial, os.getenv), ["OMP_NUM_THREADS"] * 4, workers=2)
    assert list(asked) == ["1"] * 4
    assert not workers_of(os.getpid())


def test_what_the_work_prints_does_not_disturb_it(capfd: pytest.CaptureFixture[str]) -> None:
    printed = map_in_processes(partial(partial, print), ["a line", "another"], workers=1)
    assert list(printed) == [None, None]
    assert "a line" in capfd.readouterr().err


def test_an_error_comes_back_with_its_class_and_where_it_was_raised() -> None:
    with pytest.raises(ZeroDivisionError, match="division by zero") as raised:
        list(map_in_processes(partial(partial, truediv, 1), [1, 2, 0, 3], workers=2))
    assert "in a worker process" in raised.value.__notes__[0]
    assert not workers_of(os.getpid())


def test_an_error_of_ours_comes_back_too(tmp_path: Path) -> None:
    store: PictureStore = Store.open(Home.at(tmp_path)).pictures
    with pytest.raises(MissingVersion, match="not in the store"):
        list(map_in_processes(partial(partial, PictureStore.get, store), ["0" * 64], workers=1))


def test_an_error_while_it_prepares_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        list(map_in_processes(partial(truediv, 1, 0), [1], workers=1))


def test_a_process_that_is_killed_is_told_as_trouble_that_may_pass() -> None:
    with pytest.raises(WorkerKilled, match=r"signal 9 \(Killed\).*run again") as raised:
        list(map_in_processes(partial(partial, signal.raise_signal), [0, 0, signal.SIGKILL, 0], workers=2))
    assert isinstance(raised.value, PassingTrouble)
    assert not workers_of(os.getpid())


def test_a_process_that_ends_on_its_own_is_told() -> None:
    with pytest.raises(WorkerLost, match="status 3") as raised:
        list(map_in_processes(partial(partial, os._exit), [3], workers=1))
    assert not isinstance(raised.value, PassingTrouble)


def test_results_come_while_the_rest_is_under_way() -> None:
    """The second job takes longer than anybody waits."""
    results = map_in_processes(partial(partial, time.sleep), [0, 3600], workers=2)
    assert next(results) is None
    assert len(workers_of(os.getpid())) == 2
    results.close()
    assert not workers_of(os.getpid())


def test_no_more_is_done_than_is_taken(tmp_path: Path) -> None:
    """What was done and nobody takes is held in memory: that is bounded."""
    folders = [str(tmp_path / str(number)) for number in range(400)]
    results = map_in_processes(partial(partial, os.mkdir), folders, workers=1)
    next(results)
    time.sleep(1)
    assert len(list(tmp_path.iterdir())) < 50
    assert len(list(results)) == 399
    assert len(list(tmp_path.iterdir())) == 400


def test_an_error_does_not_wait_for_the_jobs_before_it() -> None:
    with pytest.raises(ValueError, match="must be non-negative"):
        list(map_in_processes(partial(partial, time.sleep), [3600, 0, -1], workers=2))
    assert not workers_of(os.getpid())


SLEEPS = """
import time
from functools import partial
from selfai_pipeline.workers import map_in_processes
list(map_in_processes(partial(partial, time.sleep), [1.0] * 600, workers=2))
"""


@pytest.fixture
def sleeping() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has two workers at work."""
    process = subprocess.Popen([sys.executable, "-c", SLEEPS], stderr=subprocess.DEVNULL)
    while len(workers_of(process.pid)) < 2 and process.poll() is None:
        time.sleep(0.05)
    # Until they have imported what they work with, and wait for jobs.
    time.sleep(2)
    yield process
    process.kill()
    process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_process_that_started_them(
    sleeping: subprocess.Popen[bytes], how: signal.Signals
) -> None:
    workers = workers_of(sleeping.pid)
    sleeping.send_signal(how)
    sleeping.wait(timeout=60)
    gone, alive = psutil.wait_procs(workers, timeout=60)
    assert (len(gone), alive) == (2, [])


def workers_of(pid: int) -> list[psutil.Process]:
    """The workers that a process has; a test's database may be another child."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [one for one in psutil.Process(pid).children() if is_worker(one)]
    return []


def is_worker(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return "selfai_pipeline.workers" in " ".join(process.cmdline())
    return False
