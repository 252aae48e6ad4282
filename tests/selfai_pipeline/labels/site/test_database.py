"""Answers are on the disk when they are acknowledged; several processes may open the database at once."""

import subprocess
import sys
from typing import Any

import pytest

from selfai_pipeline.errors import StorageError
from selfai_pipeline.labels.site.database import SiteDatabase, people


def synchronous(database: SiteDatabase, **how: Any) -> str:
    with database.writing(**how) as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        asked = "PRAGMA synchronous" if is_sqlite else "SHOW synchronous_commit"
        return str(connection.exec_driver_sql(asked).scalar_one())


def test_a_transaction_waits_for_the_disk_unless_it_need_not(database: SiteDatabase) -> None:
    waits, need_not = ("2", "1") if database.engine.dialect.name == "sqlite" else ("on", "off")
    found = [synchronous(database), synchronous(database, waits_for_disk=False), synchronous(database)]
    assert found == [waits, need_not, waits]


def test_an_error_leaves_nothing_behind(database: SiteDatabase) -> None:
    values = {"name": "ann", "role": "annotator", "group": "", "link_hash": "x"}

    def fail() -> None:
        with database.writing() as connection:
            connection.execute(people.insert(), values)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with database.writing() as connection:
        assert connection.execute(people.select()).all() == []


def test_processes_that_make_it_at_once_do_not_hinder_each_other(
    request: pytest.FixtureRequest, tmp_path: Any
) -> None:
    opens = "import sys; from selfai_pipeline.labels.site.database import SiteDatabase as S; S(sys.argv[1])"
    for url in (f"sqlite:///{tmp_path / 'new.sqlite'}", request.getfixturevalue("postgres").new_place()):
        processes = [subprocess.Popen([sys.executable, "-c", opens, url]) for _ in range(4)]
        assert [process.wait(timeout=60) for process in processes] == [0] * 4


def test_a_damaged_database_says_what_to_do(tmp_path: Any) -> None:
    file = tmp_path / "annotations.sqlite"
    file.write_bytes(b"\xff" * 5000)
    with pytest.raises(StorageError, match=r"database of annotations .*is damaged.*Put a copy of it back"):
        SiteDatabase(f"sqlite:///{file}")
