"""Selfai's own names stay when a host or an annotator is called like a part of them."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from selfai_pipeline import annotate
from selfai_pipeline.home import PROJECT, Home, install_instance_file
from selfai_pipeline.removal.own import own_names
from selfai_pipeline.removal.search import is_users_own
from selfai_pipeline.serving.services import services
from selfai_pipeline.storage import Storage
from selfai_pipeline.store import Store


def test_every_service_is_known_but_for_the_gallery_which_is_somebody_elses(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = "SELFAI_GALLERY_PORT"

    def served() -> dict[str, str]:
        started = services(store.home, project=PROJECT)
        return {one.setting: f"http://{one.host}:{one.port}" for one in started if one.port}

    before = served()
    for number, name in enumerate(sorted(before)):
        monkeypatch.setenv(name, str(4000 + number))
    now = served()
    assert set(before.values()).isdisjoint(now.values())
    addresses = {one for links in (before, now) for name, one in links.items() if name != gallery}
    assert own_names(store) >= {*addresses, f"http://127.0.0.1:{annotate.PORT}"}
    assert own_names(store).isdisjoint({before[gallery], now[gallery]})


def test_folders_and_addresses_of_settings_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELFAI_UI_URL", "https://faces.example/dagster/")
    home, storage = Home.at(tmp_path / "home").create(), tmp_path / "storage"
    names = own_names(Store.open(home, str(storage)))
    assert names >= {str(home.root), str(storage), str(PROJECT), "https://faces.example/dagster"}
    in_memory = Store(home, Storage("memory://faces.example/selfai"))
    assert "memory://faces.example/selfai" in own_names(in_memory)
    assert "" not in names


HOST = "one.example"


def test_a_home_that_is_called_like_a_removed_host_keeps_its_paths_and_the_users_instance_file(
    lived_in: Any, tmp_path: Path
) -> None:
    home = Home.at(tmp_path / HOST / "home")
    shutil.copytree(lived_in.home.root, home.root)
    mine = f"# alerts go to http://{HOST}/hook, and to http://127.0.0.1:3080\ntelemetry:\n  enabled: false\n"
    (home.dagster / "dagster.yaml").write_text(mine)
    install_instance_file(home)
    artifacts = (home.mlflow / "artifacts").as_uri()
    page = {"page": "http://127.0.0.1:3080/reports/x", "path": f"{home.previews}/{HOST}/x"}
    for path in (home.dagster / "history" / "runs.db", home.mlflow / "mlflow.db"):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE places (place TEXT)")
            # Many, longer than a page of the database: some are cut in the middle of a name.
            cells = [f"{number:09}"[:length] + artifacts * 90 for number in range(9) for length in range(9)]
            connection.executemany("INSERT INTO places VALUES (?)", [[one] for one in cells])
            connection.execute("INSERT INTO places VALUES (?)", [json.dumps(page)])
            connection.commit()
    moved = type(lived_in)(lived_in.world, Store.open(home))
    assert moved.remove("host", HOST) == ["dagster/dagster.yaml"]
    assert is_users_own("dagster/dagster.yaml", moved.store)
    assert (home.dagster / "dagster.yaml").read_text() == mine
    for path in (home.dagster / "history" / "runs.db", home.mlflow / "mlflow.db"):
        with closing(sqlite3.connect(path)) as connection:
            *places, last = [place for (place,) in connection.execute("SELECT place FROM places")]
        assert places == cells
        assert json.loads(last) == {**page, "path": f"{home.previews}/[removed]/x"}
