"""A crawl that is killed again and again, each time at another moment and in another of its processes."""

import contextlib
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import psutil
import pytest

from selfai_pipeline.home import Home
from selfai_pipeline.sources.crawl import crawl_day
from selfai_pipeline.sources.crawl_run import CrawlKilled
from selfai_pipeline.sources.journal import Journal
from selfai_pipeline.sources.settings import CrawlSettings
from selfai_pipeline.store import Store

DAY = "2026-01-01"
PICTURES, ON_A_PAGE = 2000, 50
KILLS = 10
RUN = """
import sys
from selfai_pipeline.home import Home
from selfai_pipeline.sources.crawl import crawl_day
from selfai_pipeline.sources.settings import CrawlSettings, PagesSource
from selfai_pipeline.store import Store

home, source, settings = sys.argv[1:]
crawl_day(
    "2026-01-01",
    sources=[PagesSource.model_validate_json(source)],
    store=Store.open(Home.at(home)),
    settings=CrawlSettings.model_validate_json(settings),
)
"""
Encode = Callable[..., bytes]


@pytest.fixture
def large_site(site: Any, jpeg: Encode) -> Any:
    """2,000 pictures on forty pages, among them some that are gone, twice there, or no pictures."""
    names = [f"/{number}.jpg" for number in range(PICTURES)]
    for number, name in enumerate(names):
        site.pages[name] = jpeg(number - number % 10 if number % 10 == 9 else number)
        if number % 25 == 3:
            site.pages[name] = (404, {}, b"")
        if number % 25 == 4:
            site.pages[name] = b"no picture"
    pages = [f"/page-{start}.html" for start in range(0, PICTURES, ON_A_PAGE)]
    for number, page in enumerate(pages):
        site.index(*names[number * ON_A_PAGE : (number + 1) * ON_A_PAGE], path=page)
    site.index(*(f'<a href="{page}">more</a>' for page in pages))
    return site


@pytest.fixture
def settings() -> CrawlSettings:
    """So slow that ten kills within a second each come before the end."""
    return CrawlSettings(
        requests_per_second=150, concurrency=16, concurrency_per_host=16, throttle_concurrency=0, retries=0
    )


def table_of(store: Store, ref: Any) -> list[dict[str, Any]]:
    """Everything but the moment at which a picture was fetched."""
    return store.tables.read(ref).drop_columns(["fetched_at"]).to_pylist()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ten_kills_leave_the_table_of_an_undisturbed_crawl(
    large_site: Any, settings: CrawlSettings, store: Store, tmp_path: Path
) -> None:
    source = large_site.source()
    undisturbed = crawl_day(DAY, sources=[source], store=store, settings=settings)
    killed = Store.open(Home.at(tmp_path / "killed").create())
    moments = random.Random(20261129)
    roles = {kill_one(moments, killed, large_site, settings) for _ in range(KILLS)}
    assert roles == {"run", "crawl", "recorder"}
    with Journal(killed.home.journal_url) as journal:
        before = {outcome.found.url for outcome in journal.outcomes("site", DAY)}
    large_site.asked.clear()
    ref = crawl_day(DAY, sources=[source], store=killed, settings=settings)
    assert table_of(killed, ref) == table_of(store, undisturbed)
    again = {f"{large_site.url}{path}" for path in large_site.asked}
    assert before
    assert not before & again, "what was written before a kill was asked for again"
    assert crawl_day(DAY, sources=[source], store=killed, settings=settings) == ref


def kill_one(moments: random.Random, killed: Store, site: Any, settings: CrawlSettings) -> str:
    """Start a crawl; when it has begun to ask, kill one of its processes within a second; tells which."""
    arguments = [str(killed.home.root), site.source().model_dump_json(), settings.model_dump_json()]
    asked = len(site.asked)
    with subprocess.Popen([sys.executable, "-c", RUN, *arguments], stderr=subprocess.DEVNULL) as run:
        family = family_of(psutil.Process(run.pid))
        while len(site.asked) == asked and run.poll() is None:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 1))
        role = moments.choice(sorted(family))
        with contextlib.suppress(psutil.NoSuchProcess):
            family[role].kill()
        run.wait(60)
    _, alive = psutil.wait_procs(family.values(), timeout=30)
    assert not alive, "a process outlives the run that started it"
    return role


@pytest.mark.parametrize("role", ["crawl", "recorder"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_leaves_no_table_that_looks_complete_and_is_worth_another_try(
    site: Any, jpeg: Encode, settings: CrawlSettings, store: Store, role: str, number: signal.Signals
) -> None:
    """A silent host is not waited for: the test's own limit is shorter than that of its answer."""
    gate = threading.Event()

    def waits(handler: BaseHTTPRequestHandler) -> None:
        gate.wait(60)

    site.pages |= {"/slow.jpg": waits, **{f"/{name}.jpg": jpeg(name) for name in range(20)}}
    site.index("/slow.jpg", *(f"/{name}.jpg" for name in range(20)))

    def kill() -> None:
        while "/slow.jpg" not in site.asked:
            time.sleep(0.01)
        family_of(psutil.Process())[role].send_signal(number)

    killing = threading.Thread(target=kill)
    killing.start()
    patient = settings.model_copy(update={"timeout_s": 3000.0})
    with pytest.raises(CrawlKilled, match="run again"):
        crawl_day(DAY, sources=[site.source()], store=store, settings=patient)
    killing.join()
    gate.set()
    assert store.tables.current("raw_crawl", DAY) is None
    site.pages["/slow.jpg"] = jpeg(99)
    ref = crawl_day(DAY, sources=[site.source()], store=store, settings=settings)
    assert store.tables.facts(ref)["counts"] == {"stored": 21}


def family_of(started: psutil.Process) -> dict[str, psutil.Process]:
    """A run, the process that crawls for it and the one that records."""
    for _ in range(600):
        crawls = [one for one in started.children() if "crawl_process" in command_of(one)]
        recorders = [one for crawl in crawls for one in crawl.children()]
        if recorders:
            return {"run": started, "crawl": crawls[0], "recorder": recorders[0]}
        time.sleep(0.05)
    raise AssertionError("not all processes are there")


def command_of(process: psutil.Process) -> str:
    """Its command line; that of a process that has ended, and was not waited for, is empty."""
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""
