"""The space for the environment is asked for once, before it is installed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the Makefile, and the files that it installs from."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(PROJECT / name, tmp_path)
    return tmp_path


def install_asking_for_much(project: Path) -> subprocess.CompletedProcess[str]:
    command = ["make", "install", "INSTALL_GIGABYTES=100000000", f"PYTHON={sys.executable}"]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


def test_too_little_space_ends_the_first_install_before_it_begins(project: Path) -> None:
    result = install_asking_for_much(project)
    assert result.returncode != 0
    assert "free some space and run make again" in result.stderr
    assert not (project / ".venv").exists()


def test_an_environment_that_is_there_needs_no_further_space(project: Path) -> None:
    programs = project / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "selfai"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    result = install_asking_for_much(project)
    assert result.returncode == 0, result.stderr
    assert (project / ".venv" / ".installed").exists()
