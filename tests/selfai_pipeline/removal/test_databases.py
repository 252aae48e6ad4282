"""Databases keep nothing of what was removed, packed or not, and their owners still read them."""

import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest
from pydantic import Field

from selfai_pipeline.home import Home, install_instance_file
from selfai_pipeline.removal.databases import cells, clean, databases_in, scrub
from selfai_pipeline.removal.plan import Plan
from selfai_pipeline.removal.search import traces
from selfai_pipeline.removal.subjects import Subjects
from selfai_pipeline.removal.texts import INSTEAD, Needles
from selfai_pipeline.store import Store

DENIED = "ab" * 32
OTHER = "cd" * 32
PLAN = Plan("", "", "", "picture", Subjects(image_ids=frozenset({DENIED})))


class Crawl(dg.Config):
    deny_pictures: list[str] = Field(default=[DENIED, OTHER])


@dg.asset
def crawled(config: Crawl) -> None:
    """Its defaults are part of its job, as those of settings.yaml are."""


def dagster_of(home: Home) -> dg.DagsterInstance:
    install_instance_file(home)
    return dg.DagsterInstance.from_config(str(home.dagster))


def test_dagster_still_reads_the_snapshot_of_a_job_from_which_a_default_was_taken(store: Store) -> None:
    with dagster_of(store.home) as instance:
        run_id = dg.materialize([crawled], instance=instance).run_id
    databases = list(databases_in(store.home.dagster))
    packed = [path for path in databases if any(DENIED.encode() in cell for cell in cells(path))]
    assert [path.name for path in packed] == ["runs.db"], "the test would see no snapshot"
    for path in databases:
        scrub(path, Needles.of(PLAN.subjects))
        clean(path)
        left = b"".join(cells(path))
        assert DENIED.encode() not in left + path.read_bytes()
        assert (path.name == "runs.db") == (INSTEAD.encode() in left) == (OTHER.encode() in left)
        assert scrub(path, Needles.of(PLAN.subjects)) == 0
    with dagster_of(store.home) as instance:
        run = instance.get_run_by_id(run_id)
        assert run is not None
        assert run.job_snapshot_id
        assert run.execution_plan_snapshot_id
        assert instance.has_job_snapshot(run.job_snapshot_id)
        snapshot = instance.get_job_snapshot(run.job_snapshot_id)
        assert "crawled" in snapshot.node_names
        assert instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id).steps
        job = instance.get_historical_job(run.job_snapshot_id)
        assert job.identifying_job_snapshot_id == run.job_snapshot_id
        # The same job again finds its snapshot, and does not write the former one.
        assert dg.materialize([crawled], instance=instance).success
    assert all(DENIED.encode() not in cell for path in databases for cell in cells(path))


@pytest.mark.parametrize("damaged", [False, True])
def test_a_packed_cell_that_names_it_is_reported(store: Store, damaged: bool) -> None:
    path = store.home.root / "notes.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE notes (note BLOB)")
        for note in (b"no packed one", zlib.compress(DENIED.encode())):
            connection.execute("INSERT INTO notes VALUES (?)", [note])
        connection.commit()
    if damaged:
        content = path.read_bytes()
        path.write_bytes(content[:100] + b"\xff" * 4000 + f" {DENIED} ".encode())
    assert traces(PLAN, store) == ["notes.db"]
    other = Plan("", "", "", "picture", Subjects(image_ids=frozenset({OTHER})))
    assert traces(other, store) == []


def test_a_cell_that_only_looks_packed_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    cells = [b"", zlib.compress(OTHER.encode(), 1), b"x\x9c" + DENIED.encode(), b"\x00\xff"]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE some (cell)")
        connection.executemany("INSERT INTO some VALUES (?)", [[cell] for cell in cells])
        connection.commit()
    assert scrub(path, Needles.of(PLAN.subjects)) == 0
    with closing(sqlite3.connect(path)) as connection:
        assert [cell for (cell,) in connection.execute("SELECT cell FROM some")] == cells
