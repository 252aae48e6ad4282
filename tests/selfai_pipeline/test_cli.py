"""The command line as a person meets it: what it prints, and what it says after a mistake."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures and a file of ratings beside them."""
    place = tmp_path / "portraits"
    place.mkdir()
    rng = np.random.default_rng(3)
    for name in ("a", "b", "c"):
        cv2.imwrite(str(place / f"{name}.png"), rng.integers(0, 256, (200, 200, 3), dtype=np.uint8))
    (tmp_path / "ratings.csv").write_text("image,annotator,score\na.png,ann,3\nb.png,ann,6\n")
    return place


def selfai(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "SELFAI_HOME": str(home), "SELFAI_ENV": "local", **environment}
    command = [sys.executable, "-c", "from selfai_pipeline.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=variables)


def test_init_makes_the_home_and_prints_what_to_export(tmp_path: Path) -> None:
    result = selfai("init", home=tmp_path / "mine")
    assert result.returncode == 0, result.stderr
    assert f"export DAGSTER_HOME={tmp_path / 'mine' / 'dagster'}" in result.stdout
    assert "free_slots_after_run_end_seconds" in (tmp_path / "mine" / "dagster" / "dagster.yaml").read_text()
    assert (tmp_path / "mine" / "sources.yaml").exists()


def test_import_says_what_it_brought_in(tmp_path: Path, folder: Path) -> None:
    ratings = str(folder.parent / "ratings.csv")
    result = selfai("import", str(folder), "--ratings", ratings, home=tmp_path / "mine")
    assert result.returncode == 0, result.stderr
    assert "portraits: 3 pictures, 2 of them rated, 1 not" in result.stdout
    assert "portraits" in (tmp_path / "mine" / "sources.yaml").read_text()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image,score\na.png,3\n", "line 1: there is no column 'annotator'"),
        ("image,annotator,score\na.png,ann,30\n", "line 2: the score 30 is outside of 0..9"),
        ("image,annotator,score\nnobody.png,ann,3\n", "nobody.png"),
        ("", "ratings.csv"),
    ],
)
def test_a_bad_ratings_file_is_one_sentence_and_brings_nothing_in(
    tmp_path: Path, folder: Path, content: str, message: str
) -> None:
    file = folder.parent / "ratings.csv"
    file.write_text(content)
    result = selfai("import", str(folder), "--ratings", str(file), home=tmp_path / "mine")
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert "portraits" not in (tmp_path / "mine" / "sources.yaml").read_text()


def test_windows_line_ends_and_a_byte_order_mark_are_fine(tmp_path: Path, folder: Path) -> None:
    file = folder.parent / "ratings.csv"
    file.write_bytes(b"\xef\xbb\xbfimage,annotator,score\r\na.png,ann,3\r\n")
    result = selfai("import", str(folder), "--ratings", str(file), home=tmp_path / "mine")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["init"], {"SELFAI_ENV": "staging"}, "no environment is called 'staging'"),
        (["run"], {}, "Bring pictures in with `selfai import"),
        (["run", "--day", "1999-01-01"], {}, "day 1999-01-01: it is no day from 2026-01-01"),
        (["run", "--day", "tomorrow"], {}, "day tomorrow: it is no day from"),
        (["sql", "select * from nothing"], {}, "nothing"),
        (["up"], {"SELFAI_UI_PORT": "none"}, "SELFAI_UI_PORT: 'none' is no port"),
    ],
)
def test_a_mistake_is_answered_with_the_mend(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], message: str
) -> None:
    result = selfai(*arguments, home=tmp_path / "mine", **environment)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_an_unknown_key_in_sources_yaml_is_named_with_its_line(tmp_path: Path) -> None:
    home = tmp_path / "mine"
    assert selfai("init", home=home).returncode == 0
    (home / "sources.yaml").write_text(
        "sources:\n  - kind: folder\n    name: a\n    path: x\n    day: 2026-01-01\n    colour: red\n"
    )
    result = selfai("run", home=home)
    assert result.returncode == 1
    assert "sources.yaml, line 6" in result.stderr
    assert "colour" in result.stderr


def test_up_with_a_port_in_use_starts_nothing(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = selfai("up", home=tmp_path / "mine", SELFAI_UI_PORT=port)
    assert result.returncode == 1
    assert f"Dagster UI: port {port} is in use" in result.stderr
    assert "http://" not in result.stdout
