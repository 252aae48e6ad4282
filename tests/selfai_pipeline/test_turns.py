"""Whose turn it is to write: many at once, or a removal alone."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home
from selfai_pipeline.turns import TurnNotCome, alone, writing

PROGRAM = """
import sys
from selfai_pipeline.home import Home
from selfai_pipeline.turns import writing
with writing(Home.at(sys.argv[1])):
    print("at work", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def a_writer(home: Home) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(home.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"at work\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_writers_do_not_wait_for_each_other(home: Home) -> None:
    with a_writer(home), writing(home, wait_s=0):
        pass


def test_a_removal_waits_for_a_writer_and_says_so(home: Home) -> None:
    told: list[str] = []
    with a_writer(home):
        with (
            pytest.raises(TurnNotCome, match="--wait SECONDS"),
            alone(home, wait_s=0.2, tell=lambda: told.append("waits")),
        ):
            pytest.fail("it did not wait")
        assert told == ["waits"]
    with alone(home, wait_s=5, tell=lambda: None):
        pass


def test_the_turn_of_a_killed_writer_ends_with_it(home: Home) -> None:
    with a_writer(home) as process:
        process.kill()
        process.wait()
        with alone(home, wait_s=5, tell=lambda: None):
            pass


def test_a_removal_that_waits_lets_no_new_writer_in_and_those_follow_it(home: Home) -> None:
    order: list[str] = []
    is_waiting = threading.Event()

    def remove() -> None:
        with alone(home, wait_s=30, tell=is_waiting.set):
            order.append("removal")

    def follow() -> None:
        with writing(home, wait_s=30):
            order.append("writer")

    with a_writer(home):
        removing = threading.Thread(target=remove)
        removing.start()
        # It holds the gate by then.
        assert is_waiting.wait(10)
        with pytest.raises(TurnNotCome), writing(home, wait_s=0.2):
            pytest.fail("it overtook the removal")
        follower = threading.Thread(target=follow)
        follower.start()
    follower.join(30)
    removing.join(30)
    assert order == ["removal", "writer"]


def test_while_a_removal_is_unfinished_nobody_writes(home: Home) -> None:
    plan = home.removals / "unfinished" / "0123456789ab.json"
    plan.parent.mkdir(parents=True)
    plan.write_text("{}")
    with pytest.raises(InputError, match=r"a removal was interrupted.*selfai remove --resume"), writing(home):
        pytest.fail("it wrote")
    plan.unlink()
    with writing(home):
        assert os.access(home.removals, os.W_OK)
