"""Who may change what a home holds: many at once, or a removal alone.

A writer (a run, an import, a promotion, `selfai gold`) holds its turn shared, a removal alone. The locks are
those of the kernel, so that they end with their process, however that ends. A removal that waits keeps new
writers out, so that it has its turn once those that are at work are done. They hold on one machine:
elsewhere runs have to be stopped first.
"""

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from selfai_pipeline.errors import InputError, StorageError
from selfai_pipeline.home import Home

logger = logging.getLogger("selfai.turns")

POLL_S = 0.1
SECONDS_BETWEEN_MESSAGES = 60.0


class TurnNotCome(StorageError):
    """Others were still at work when the longest wait was over."""


def unfinished_plans(home: Home) -> list[Path]:
    """The plans of removals that were begun and not finished, oldest first."""
    plans = (home.removals / "unfinished").glob("*.json")
    return sorted(plans, key=lambda path: (path.stat().st_mtime, path.name))


def has_plans(home: Home) -> bool:
    """Whether there is any plan: of a removal at work, interrupted, or done but for the plan itself."""
    return any((home.removals / "unfinished").glob("*"))


@contextmanager
def writing(home: Home, *, wait_s: float | None = None) -> Iterator[None]:
    """A writer's turn: it waits for a removal, and a removal waits for it.

    Args:
        wait_s: longest wait in seconds; None waits as long as it takes.

    Raises:
        InputError: a removal was interrupted: what is left of it must not go into anything new.
        TurnNotCome: a removal is still at work.
    """

    def tell() -> None:
        logger.warning("waiting for a removal to end: `selfai remove` works on %s", home.root)

    with _opened(_turn(home)) as turn:
        with _held(_gate(home), fcntl.LOCK_SH, wait_s, tell):
            # Whoever is alone holds the gate as well: behind it nothing is left to wait for.
            _lock(turn, fcntl.LOCK_SH, wait_s, tell)
        if unfinished_plans(home):
            raise InputError(
                "a removal was interrupted, and what it has to take out may still be there",
                where=str(home.removals),
                mend="Finish it with `selfai remove --resume`, then run again.",
            )
        yield


@contextmanager
def alone(home: Home, *, wait_s: float, tell: Callable[[], None]) -> Iterator[None]:
    """The turn of a removal: nobody else writes.

    Args:
        wait_s: longest wait for those at work, in seconds.
        tell: called where it has to wait, and every minute from then on.

    Raises:
        TurnNotCome: others are still at work.
    """
    end = time.monotonic() + wait_s
    with (
        _held(_gate(home), fcntl.LOCK_EX, wait_s, tell),
        _held(_turn(home), fcntl.LOCK_EX, max(0.0, end - time.monotonic()), tell),
    ):
        yield


def _gate(home: Home) -> Path:
    return home.removals / "gate.lock"


def _turn(home: Home) -> Path:
    return home.removals / "turn.lock"


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written ({error.strerror}). Free some space or mend the permissions."
        ) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _held(path: Path, kind: int, wait_s: float | None, tell: Callable[[], None]) -> Iterator[None]:
    with _opened(path) as descriptor:
        _lock(descriptor, kind, wait_s, tell)
        yield


def _lock(descriptor: int, kind: int, wait_s: float | None, tell: Callable[[], None]) -> None:
    started = time.monotonic()
    told = -SECONDS_BETWEEN_MESSAGES
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = time.monotonic() - started
            if wait_s is not None and waited >= wait_s:
                raise TurnNotCome(
                    f"Others were still at work after {waited:.0f} s. Run again when they are done, or wait "
                    "for longer with --wait SECONDS."
                ) from None
            if waited - told >= SECONDS_BETWEEN_MESSAGES:
                tell()
                told = waited
            time.sleep(POLL_S)
        else:
            return
