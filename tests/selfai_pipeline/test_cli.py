"""The command line as a person meets it: what it prints, and what it says after a mistake."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import dagster as dg
import numpy as np
import pytest
from dagster._core.events import EngineEventData

from selfai_pipeline.cli import commands
from selfai_pipeline.errors import StorageError
from selfai_pipeline.sources.journal import Journal
from selfai_pipeline.sources.outcomes import Found
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Record


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
        (
            "image,annotator,score\nnobody.png,ann,3\n",
            "line 2: 'nobody.png' names no picture; 0 of 1 rows can be used",
        ),
        ("", "ratings.csv: the file is empty. Fill it"),
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


def test_an_import_goes_on_without_the_rows_that_cannot_be_used_unless_it_is_strict(
    tmp_path: Path, folder: Path
) -> None:
    file = folder.parent / "ratings.csv"
    file.write_text(
        "image,annotator,score,at\na.png,ann,3,2026-01-01\na.png,ann,5,2026-01-02\nnobody.png,ann,4,\n"
    )
    options = ["import", str(folder), "--ratings", str(file), "--rated-at-column", "at"]
    result = selfai(*options, home=tmp_path / "mine")
    assert result.returncode == 0, result.stderr
    assert "1 superseded rows left out; 1 rows left out (1 unmatched), listed in" in result.stdout
    result = selfai(*options, "--strict", home=tmp_path / "mine")
    assert result.returncode == 1
    assert "line 4: 'nobody.png' names no picture" in result.stderr


def test_an_import_makes_a_name_of_the_folders(tmp_path: Path, folder: Path) -> None:
    place = folder.rename(folder.with_name("My Portraits"))
    result = selfai("import", str(place), home=tmp_path / "mine")
    assert result.returncode == 0, result.stderr
    assert "my-portraits: 3 pictures" in result.stdout


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
        (["sql", "select * from nothing"], {}, "Table with name nothing does not exist"),
        (["sql", "select 1"], {"SELFAI_ENV": "production"}, "SELFAI_STORAGE_URL: production keeps tables"),
        (["demo"], {}, "SELFAI_ENV: the demo runs on the sample, and this is local. Set it to sample"),
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


def test_a_demo_that_is_refused_leaves_no_home_behind(tmp_path: Path) -> None:
    assert selfai("demo", home=tmp_path / "mine").returncode == 1
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("command", ["demo", "run"])
def test_a_disk_without_space_ends_a_run_before_it_begins(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 100, 0))
    with pytest.raises(StorageError, match=r"0\.0 GB are free"):
        commands([command], standalone_mode=False)
    assert not (tmp_path / "home").exists()


def test_an_instance_file_that_the_user_changed_is_kept_and_told_of_once(tmp_path: Path) -> None:
    home = tmp_path / "mine"
    assert "is your own and was kept" not in selfai("init", home=home).stderr
    (home / "dagster" / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    told = selfai("init", home=home)
    assert f"{home}/dagster/dagster.yaml is your own and was kept" in told.stderr
    assert told.stdout.startswith("export ")
    assert "is your own" not in selfai("init", home=home).stderr
    assert (home / "dagster" / "dagster.yaml").read_text() == "telemetry:\n  enabled: false\n"


def test_sql_asks_the_store_of_production(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    tables = Store.open(tmp_path / "mine", str(elsewhere)).tables
    for day in ("2026-01-01", "2026-01-02"):
        ref = tables.write([], asset="raw_crawl", partition=day)
        tables.point(Record(ref, code_version="1", settings={}, inputs={}))
    query = "select count(*) || ' pictures' from RAW_CRAWL"
    production = {"SELFAI_ENV": "production", "SELFAI_STORAGE_URL": str(elsewhere)}
    result = selfai("sql", query, home=tmp_path / "mine", **production)
    assert result.returncode == 0, result.stderr
    assert "0 pictures" in result.stdout
    assert "does not exist" in selfai("sql", query, home=tmp_path / "mine").stderr


def test_up_closes_runs_whose_process_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a port in use, so that no service starts after it."""
    home = tmp_path / "mine"
    assert selfai("init", home=home).returncode == 0
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    monkeypatch.setenv("DAGSTER_HOME", str(home / "dagster"))
    with dg.DagsterInstance.get() as instance, socket.socket() as taken:
        run = instance.add_run(dg.DagsterRun(job_name="job", status=dg.DagsterRunStatus.STARTED))
        instance.report_engine_event("working", run, EngineEventData.in_process(gone.pid))
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = selfai("up", home=home, SELFAI_UI_PORT=str(taken.getsockname()[1]))
        assert f"run {run.run_id}: its process is gone" in result.stdout
        ended = instance.get_run_by_id(run.run_id)
    assert ended is not None
    assert ended.status is dg.DagsterRunStatus.FAILURE


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


def test_days_of_sources_that_are_none_of_the_graph_are_named_and_left_out(tmp_path: Path) -> None:
    home = tmp_path / "mine"
    assert selfai("init", home=home).returncode == 0
    (home / "list.csv").write_text("url,day\nhttp://127.0.0.1:1/a.jpg,1999-01-01\n")
    (home / "sources.yaml").write_text(
        "sources:\n  - {kind: url_list, name: old, path: list.csv, date_column: day}\n"
        "  - {kind: url_list, name: gone, path: gone.csv, date_column: day}\n"
    )
    result = selfai("run", home=home)
    assert result.returncode == 1
    assert "source old: 1 of its days, 1999-01-01 the first, are no days from" in result.stderr
    assert "gone.csv" in result.stderr
    assert "there is nothing to run on" in result.stderr


def test_up_with_a_port_in_use_starts_nothing(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = selfai("up", home=tmp_path / "mine", SELFAI_UI_PORT=port)
    assert result.returncode == 1
    assert f"Dagster UI: port {port} is in use" in result.stderr
    assert "http://" not in result.stdout


def test_a_journal_is_moved_to_where_the_environment_says(tmp_path: Path) -> None:
    home, other = tmp_path / "mine", f"sqlite:///{tmp_path / 'other.sqlite'}"
    assert selfai("init", home=home).returncode == 0
    with Journal(f"sqlite:///{home / 'journal.sqlite'}") as journal:
        journal.discover("site", "2026-01-01", [Found("http://127.0.0.1/", "page")], most=10)
    without = selfai("move-journal", home=home)
    assert without.returncode == 1
    assert without.stderr.startswith("selfai: SELFAI_JOURNAL_URL: it names no journal to move to. Set it to")
    moved = selfai("move-journal", home=home, SELFAI_JOURNAL_URL=other)
    assert moved.returncode == 0, moved.stderr
    assert moved.stdout == f"1 rows moved; {home / 'journal.sqlite'} stays as a copy, and is used no more\n"
    with Journal(other) as journal:
        assert journal.knows("site", "2026-01-01")
