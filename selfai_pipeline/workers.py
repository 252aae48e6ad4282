"""The same work on many jobs, in processes of their own: one thread each, results in the order of the jobs.

The processes are started anew, never forked from one that may hold threads and locks. They talk through their
standard streams, so that they end with the process that started them, even where that was killed.
"""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO, TypeVar

from selfai_pipeline.errors import PassingTrouble, SelfaiError

Job = TypeVar("Job")
Result = TypeVar("Result")

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

_GRACE_S = 5.0
"""For a worker process to clear up after itself, before it is killed."""

_AHEAD = 16
"""Jobs for each process beyond the one whose result is waited for: results of so many are held at most."""


class WorkerLost(SelfaiError):
    """A worker process ended before its work was done."""


class WorkerKilled(WorkerLost, PassingTrouble):
    """A signal ended a worker process (the system was out of memory, say)."""


class WorkerFailed(SelfaiError):
    """A worker process raised an error that cannot be handed over; the message holds its traceback."""


def map_in_processes(
    prepare: Callable[[], Callable[[Job], Result]], jobs: Sequence[Job], *, workers: int
) -> Generator[Result, None, None]:
    """`prepare()(job)` for every job, each as soon as those before it are done; `prepare` is called once in
    each process.

    A process has one job at a time, and gets the next one when it is done, but for results that nobody takes.
    All processes have ended when the last result was taken, when this raises, and when it is closed.

    Args:
        prepare: importable by its name, like all that it holds: it goes over as a pickle, as do jobs and
            results.
        workers: processes; no more are started than there are jobs.

    Raises:
        WorkerKilled, WorkerLost: a process ended; as the former where a signal ended it.
        Exception: what `prepare` or the work raised, as soon as it did.
    """
    if not jobs:
        return
    processes = [_start() for _ in range(min(workers, len(jobs)))]
    idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()

    def asked(question: Any, process: subprocess.Popen[bytes]) -> Any:
        try:
            return _ask(process, question)
        finally:
            idle.put(process)

    # Threads only wait for answers; those that still wait when the processes are ended read the end.
    with ThreadPoolExecutor(len(processes), thread_name_prefix="worker") as pool:
        try:
            deque(pool.map(partial(asked, prepare), processes), maxlen=0)
            waiting = (pool.submit(lambda job: asked(job, idle.get()), job) for job in jobs)
            under_way = deque(islice(waiting, _AHEAD * len(processes)))
            while under_way:
                yield _first(under_way)
                under_way.extend(islice(waiting, 1))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            _end(processes, signal.SIGTERM)
            raise
        # They have nothing left to do.
        _end(processes, signal.SIGKILL)


def _first(under_way: "deque[Future[Result]]") -> Result:
    """Wait for the first and take it out; what any of them raises is raised at once."""
    while True:
        not_done = {future for future in under_way if not future.done()}
        for future in under_way:
            if future not in not_done:
                future.result()
        if under_way[0] not in not_done:
            return under_way.popleft().result()
        wait(not_done, return_when=FIRST_COMPLETED)


def _start() -> subprocess.Popen[bytes]:
    package_root = str(Path(__file__).resolve().parents[1])
    environment = {**os.environ, **dict.fromkeys(_THREADS, "1")}
    environment["PYTHONPATH"] = os.pathsep.join([package_root, *filter(None, sys.path)])
    return subprocess.Popen(
        [sys.executable, "-P", "-c", "from selfai_pipeline.workers import main; main()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )


def _end(processes: list[subprocess.Popen[bytes]], how: signal.Signals) -> None:
    for process in processes:
        process.send_signal(how)
    for process in processes:
        try:
            process.wait(timeout=_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ask(process: subprocess.Popen[bytes], question: Any) -> Any:
    """Send an object to a worker and wait for what comes of it."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        pickle.dump(question, process.stdin)
        process.stdin.flush()
        # From a process that this one started, through a pipe that nobody else holds.
        answer, error = pickle.load(process.stdout)  # noqa: S301
    except (BrokenPipeError, EOFError, pickle.UnpicklingError):
        status = process.wait()
        cause = f"signal {-status} ({signal.strsignal(-status)})" if status < 0 else f"status {status}"
        raise (WorkerKilled if status < 0 else WorkerLost)(
            f"a worker process ended before its work was done: {cause}. Memory may have run out. "
            "What was stored is kept: run again."
        ) from None
    if error is not None:
        raise error
    return answer


@contextlib.contextmanager
def _streams() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """The two ends of the talk; what the work prints goes to the error stream instead."""
    with os.fdopen(os.dup(0), "rb") as questions, os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        yield questions, answers


def _portable(error: Exception) -> Exception:
    """The error as it can be handed over, with its traceback as a note."""
    text = "".join(traceback.format_exception(error))
    error.add_note(f"in a worker process:\n{text}")
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - its own bytes
    except Exception:  # any: it depends on the class of the error
        return WorkerFailed(f"a worker process failed:\n{text}")
    return error


def main() -> None:
    """Answer one object after the other, until there are no more: the first prepares, the others are jobs."""
    # An interruption reaches the whole group; the process that started this one decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # As an exception, so that a file that is being written is cleared away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    work: Callable[[Any], Any] | None = None
    with _streams() as (questions, answers), contextlib.suppress(BrokenPipeError, EOFError):
        while True:
            # From the process that started this one.
            question = pickle.load(questions)  # noqa: S301
            answer, failure = None, None
            try:
                if work is None:
                    work = question()
                else:
                    answer = work(question)
            except Exception as error:
                failure = _portable(error)
            pickle.dump((answer, failure), answers)
            answers.flush()
