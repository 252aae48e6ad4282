"""Crawls whose journal lies in PostgreSQL."""

import hashlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from selfai_pipeline.errors import StorageError
from selfai_pipeline.home import Home
from selfai_pipeline.sources.crawl import crawl_day
from selfai_pipeline.sources.journal import Journal
from selfai_pipeline.sources.settings import CrawlSettings
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef

DAY, NEXT_DAY = "2026-01-01", "2026-01-02"
Encode = Callable[..., bytes]


def new_store(place: Path) -> Store:
    return Store.open(Home.at(place).create())


def without_times(store: Store, ref: TableRef) -> pa.Table:
    return store.tables.read(ref).drop_columns(["fetched_at"])


def test_the_tables_are_those_of_a_crawl_whose_journal_lies_in_sqlite(
    jpeg: Encode,
    site: Any,
    settings: CrawlSettings,
    tmp_path: Path,
    postgres: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    site.pages |= {f"/{number}.jpg": jpeg(number) for number in range(12)}
    site.pages["/large.jpg"] = jpeg(50, width=300, height=300)
    site.dated("/same.jpg", jpeg(60))
    site.dated_index("/more", "/10.jpg", "/11.jpg", "/same.jpg", "/ü ☃.jpg", "/&#0;%00.jpg")
    further = [
        '<a href="/more">more</a>',
        "/large.jpg",
        "/gone.jpg",
        "data:image/png,x",
        "http://[/",
    ]
    site.index(*(f"/{number}.jpg" for number in range(10)), *further)
    source = site.source(depth=1)
    denying = settings.model_copy(update={"deny_pictures": [hashlib.sha256(jpeg(3)).hexdigest()]})
    stores = {name: new_store(tmp_path / name) for name in ("sqlite", "postgresql")}
    refs: dict[str, list[TableRef]] = {}
    for name, address in {"sqlite": "", "postgresql": postgres.new_place()}.items():
        monkeypatch.setenv("SELFAI_JOURNAL_URL", address)
        refs[name] = [
            crawl_day(day, sources=[source], store=stores[name], settings=limits)
            for day, limits in ((DAY, settings), (NEXT_DAY, settings), (DAY, settings), (DAY, denying))
        ]
        assert refs[name][2] == refs[name][0], "made again it is the same, the times included"
        assert (stores[name].home.root / "journal.sqlite").exists() == (name == "sqlite")
    tables = {name: [without_times(stores[name], ref) for ref in refs[name]] for name in refs}
    assert all(ours.equals(theirs) for ours, theirs in zip(*tables.values(), strict=True))
    first, later, _, denied = tables["postgresql"]
    assert first.num_rows == 10 + 4 + 5
    assert {"stored", "refused"} == set(first["status"].to_pylist())
    assert {"unchanged", "refused"} == set(later["status"].to_pylist())
    assert denied["reason"].to_pylist().count("denied_picture") == 1
    assert postgres.written_password not in caplog.text
    for path in stores["postgresql"].home.root.rglob("*"):
        assert path.is_dir() or postgres.written_password.encode() not in path.read_bytes()


def test_runs_at_once_on_one_journal_each_give_the_whole_table(
    jpeg: Encode,
    site: Any,
    settings: CrawlSettings,
    tmp_path: Path,
    postgres: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SELFAI_JOURNAL_URL", postgres.new_place())
    names = [f"/{number}.jpg" for number in range(30)]
    site.pages |= {name: jpeg(number) for number, name in enumerate(names)}
    site.index(*names)
    store = new_store(tmp_path / "shared")
    runs = [("site", DAY), ("site", DAY), ("other", NEXT_DAY)]
    with ThreadPoolExecutor(len(runs)) as pool:
        under_way = [
            pool.submit(crawl_day, day, sources=[site.source(name=name)], store=store, settings=settings)
            for name, day in runs
        ]
        refs = [one.result() for one in under_way]
    for ref in refs:
        rows = store.tables.read(ref).to_pylist()
        assert [row["url"].removeprefix(site.url) for row in rows] == sorted(names)
        assert {row["status"] for row in rows} == {"stored"}
    assert without_times(store, refs[0]).equals(without_times(store, refs[1]))


def test_a_server_that_stops_in_the_middle_ends_the_crawl_in_one_sentence_and_the_next_one_goes_on(
    jpeg: Encode,
    site: Any,
    settings: CrawlSettings,
    tmp_path: Path,
    postgres: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address = postgres.new_place()
    monkeypatch.setenv("SELFAI_JOURNAL_URL", address)
    early = {f"/early-{number}.jpg": jpeg(number) for number in range(5)}
    late = {f"/late-{number}.jpg": jpeg(10 + number) for number in range(5)}
    stopped = threading.Event()

    def stops_the_server(handler: BaseHTTPRequestHandler) -> None:
        if not stopped.is_set():
            with Journal(address) as journal:
                while len(list(journal.outcomes("site", DAY))) < 1 + len(early):
                    time.sleep(0.01)
            postgres.stop()
            stopped.set()
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(late[handler.path])

    site.pages |= {**early, **dict.fromkeys(late, stops_the_server)}
    site.index(*early, *late)
    store = new_store(tmp_path / "stopped")
    try:
        with pytest.raises(
            StorageError, match=r"the journal postgresql://selfai@.*run again: what was stored"
        ) as caught:
            crawl_day(DAY, sources=[site.source()], store=store, settings=settings)
    finally:
        postgres.stop()
        postgres.start()
    assert len(str(caught.value).splitlines()) == 1
    assert store.tables.current("raw_crawl", DAY) is None
    with Journal(address) as journal:
        kept = list(journal.outcomes("site", DAY))
    assert {outcome.found.url.removeprefix(site.url) for outcome in kept} == {f"/?{DAY}", *early}
    site.asked.clear()
    ref = crawl_day(DAY, sources=[site.source()], store=store, settings=settings)
    assert sorted(site.asked) == sorted([*late, "/robots.txt"])
    monkeypatch.setenv("SELFAI_JOURNAL_URL", "")
    undisturbed = new_store(tmp_path / "undisturbed")
    calm = crawl_day(DAY, sources=[site.source()], store=undisturbed, settings=settings)
    assert without_times(store, ref).equals(without_times(undisturbed, calm))
