"""A disk or a database that fails is said in one line; a defect keeps its traceback."""

import errno
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from selfai_pipeline.trouble import storage_trouble


def trouble_of(error: BaseException, *, hidden_by: Exception | None = None) -> str | None:
    try:
        try:
            raise error
        except BaseException as cause:
            if hidden_by is None:
                raise
            raise hidden_by from cause
    except BaseException as raised:
        return storage_trouble(raised)


@pytest.mark.parametrize(
    ("number", "mend"),
    [
        (errno.ENOSPC, "Free some space, then run again: what was stored is kept."),
        (errno.EROFS, "Mend the permissions, or set SELFAI_HOME to a folder that you can write"),
        (errno.EACCES, "Mend the permissions"),
        (errno.EIO, "mend the disk"),
    ],
)
def test_an_error_of_the_disk_is_where_what_and_mend(number: int, mend: str) -> None:
    said = trouble_of(OSError(number, os.strerror(number), "/selfai/tables/x"))
    assert said is not None
    assert said.startswith(f"/selfai/tables/x: {os.strerror(number)}. ")
    assert mend in said


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("database or disk is full", "Free some space"),
        ("attempt to write a readonly database", "Mend the permissions"),
        ("unable to open database file", "Mend the permissions"),
        ("disk I/O error", "Free some space, or mend the disk"),
        ("database is locked", "Wait until the other command"),
        ("database disk image is malformed", "Put it back from a copy"),
    ],
)
def test_an_error_of_a_database_is_found_behind_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, mend: str
) -> None:
    monkeypatch.setenv("SELFAI_HOME", str(tmp_path))
    wrapped = OperationalError("INSERT INTO event_logs ...", {}, sqlite3.OperationalError(text))
    said = trouble_of(wrapped, hidden_by=RuntimeError("the run could not be recorded"))
    assert said is not None
    assert said.startswith(f"a database under {tmp_path}: {text}. {mend}")
    assert "\n" not in said


@pytest.mark.parametrize(
    "defect",
    [
        KeyError("x"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "x"),
        IntegrityError("INSERT", {}, sqlite3.IntegrityError("UNIQUE constraint failed")),
        OperationalError("SELECT", {}, sqlite3.OperationalError("no such column: x")),
    ],
)
def test_a_defect_is_none_of_them(defect: Exception) -> None:
    assert trouble_of(defect) is None


def test_a_command_on_a_disk_that_fills_up_ends_in_one_line(tmp_path: Path) -> None:
    # No file may grow beyond 40 kB: the databases of Dagster do not fit.
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))"
    command = f"{limit}; from selfai_pipeline.cli import main; main()"
    variables = {**os.environ, "SELFAI_HOME": str(tmp_path / "home"), "SELFAI_ENV": "local"}
    result = subprocess.run(
        [sys.executable, "-c", command, "run", "--day", "2026-01-01"],
        capture_output=True,
        text=True,
        check=False,
        env=variables,
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1].startswith("selfai: ")
    assert "run again: what was stored is kept" in result.stderr
