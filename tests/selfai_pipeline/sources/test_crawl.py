"""Crawls of a loopback site: what is stored, what is refused and why, and what a second run does."""

import datetime
import gzip
import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from selfai_pipeline.errors import InputError, PassingTrouble, StorageError
from selfai_pipeline.sources.crawl import CrawlInterrupted, crawl_day
from selfai_pipeline.sources.crawl_job import CrawlJob
from selfai_pipeline.sources.crawl_run import run_crawl
from selfai_pipeline.sources.journal import Journal
from selfai_pipeline.sources.outcomes import Found
from selfai_pipeline.sources.settings import CrawlSettings, FolderSource, PagesSource
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef

DAY = "2026-01-01"
Encode = Callable[..., bytes]


def rows(store: Store, ref: TableRef) -> list[dict[str, Any]]:
    table: list[dict[str, Any]] = store.tables.read(ref).to_pylist()
    return table


def reasons(store: Store, ref: TableRef) -> dict[str, str]:
    """What came of each address, by what follows the host (or the whole address where it has none)."""
    return {
        row["url"].split("/", 3)[3] if row["url"].startswith("http") else row["url"]: row["reason"]
        or row["status"]
        for row in rows(store, ref)
    }


def test_a_second_call_asks_nothing_again_and_gives_the_same_table(
    jpeg: Encode, site: Any, store: Store, settings: CrawlSettings
) -> None:
    site.pages["/a.jpg"] = jpeg(1)
    site.index("/a.jpg", "/gone.jpg")
    first = crawl_day(DAY, sources=[site.source()], store=store, settings=settings)
    asked = list(site.asked)
    assert sorted(asked) == [f"/?{DAY}", "/a.jpg", "/gone.jpg", "/robots.txt"]
    site.pages["/gone.jpg"] = jpeg(2)
    assert crawl_day(DAY, sources=[site.source()], store=store, settings=settings) == first
    assert site.asked == asked


def test_a_crawl_that_another_run_has_finished_meanwhile_ends(
    jpeg: Encode, site: Any, store: Store, settings: CrawlSettings
) -> None:
    """Two runs see that something is left, and one of them comes too late for all of it."""
    site.pages["/a.jpg"] = jpeg(1)
    site.index("/a.jpg")
    crawl_day(DAY, sources=[site.source()], store=store, settings=settings)
    asked = list(site.asked)
    late = CrawlJob(DAY, site.source(), settings, str(store.home.root), store.files.url)
    assert run_crawl(late) == {}
    assert site.asked == asked


def test_a_failure_is_tried_again_and_nothing_else(
    jpeg: Encode, site: Any, store: Store, settings: CrawlSettings
) -> None:
    site.pages |= {"/a.jpg": jpeg(1), "/busy.jpg": (503, {}, b"")}
    site.index("/a.jpg", "/busy.jpg")
    first = crawl_day(DAY, sources=[site.source()], store=store, settings=settings)
    assert reasons(store, first)["busy.jpg"] == "http_503"
    assert crawl_day(DAY, sources=[site.source()], store=store, settings=settings) == first
    site.pages["/busy.jpg"] = jpeg(2)
    site.asked.clear()
    again = crawl_day(DAY, sources=[site.source()], store=store, settings=settings)
    assert reasons(store, again) == {"a.jpg": "stored", "busy.jpg": "stored"}
    assert site.asked == ["/robots.txt", "/busy.jpg"]


def test_a_failure_may_pass_within_one_run(
    jpeg: Encode, site: Any, store: Store, settings: CrawlSettings
) -> None:
    def busy_once(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(503 if site.asked.count("/a.jpg") == 1 else 200)
        handler.end_headers()
        handler.wfile.write(jpeg(1))

    site.pages["/a.jpg"] = busy_once
    site.index("/a.jpg")
    limits = settings.model_copy(update={"retries": 1})
    ref = crawl_day(DAY, sources=[site.source()], store=store, settings=limits)
    assert reasons(store, ref) == {"a.jpg": "stored"}


def test_a_refusal_by_a_limit_is_asked_again_when_the_limit_moves(
    jpeg: Encode, site: Any, store: Store, settings: CrawlSettings
) -> None:
    site.pages["/large.jpg"] = jpeg(7, width=300, height=300)
    site.index("/large.jpg")
    source = site.source()
    closed = source.model_copy(update={"allowed_addresses": []})
    ref = crawl_day(DAY, sources=[closed], store=store, settings=settings)
    assert list(reasons(store, ref).values()) == ["private_address"]
    assert site.asked == []
    ref = crawl_day(DAY, sources=[source], store=store, settings=settings)
    assert reasons(store, ref) == {"large.jpg": "too_many_pixels"}
    wider = settings.model_copy(update={"max_pixels": 100_000})
    ref = crawl_day(DAY, sources=[source], store=store, settings=wider)
    assert reasons(store, ref) == {"large.jpg": "stored"}


@pytest.mark.parametrize(
    ("robots", "expected"),
    [
        ((404, {}, b"User-agent: *\nDisallow: /"), "stored"),
        ((200, {}, b"User-agent: *\nDisallow: /a.jpg"), "robots"),
        ((500, {}, b""), "robots_unavailable"),
    ],
)
def test_robots_txt(
    jpeg: Encode,
    site: Any,
    store: Store,
    settings: CrawlSettings,
    robots: tuple[int, dict[str, str], bytes],
    expected: str,
) -> None:
    site.pages |= {"/robots.txt": robots, "/a.jpg": jpeg(1)}
    site.index("/a.jpg")
    ref = crawl_day(DAY, sources=[site.source()], store=store, settings=settings)
    assert expected in reasons(store, ref).values()
    assert ("/a.jpg" in site.asked) == (expected == "stored")


def test_the_crawler_says_who_it_is(site: Any, store: Store, settings: CrawlSettings) -> None:
    site.index()
    named = settings.model_copy(update={"contact": "crawl@example.org"})
    crawl_day(DAY, sources=[site.source()], store=store, settings=named)
    assert site.agents == {"selfai/0.1 (+crawl@example.org)"}


def test_no_host_but_loopback_is_crawled_without_a_contact(store: Store, settings: CrawlSettings) -> None:
    source = PagesSource(name="web", start_urls=["http://example.org/{day}"])
    with pytest.raises(InputError, match="contact"):
        crawl_day(DAY, sources=[source], store=store, settings=settings)


UNREACHABLE = {"start_urls": ["http://127.0.0.1:1/{day}"], "allowed_addresses": ["127.0.0.1:1"]}


@pytest.mark.parametrize(
    ("name", "mend"), [("site", "Check that the site is up"), ("sample-gallery", "selfai gallery")]
)
def test_a_source_that_cannot_be_reached_says_so(
    site: Any, store: Store, settings: CrawlSettings, name: str, mend: str
) -> None:
    down = site.source(name=name, **UNREACHABLE)
    with pytest.raises(InputError) as caught:
        crawl_day(DAY, sources=[down], store=store, settings=settings)
    assert isinstance(caught.value, PassingTrouble) is (name == "site"), "someone has to start the gallery"
    assert "connection_refused" in caught.value.what
    assert mend in caught.value.mend


def test_a_source_that_cannot_be_crawled_does_not_hold_up_the_others(
    jpeg: Encode, site: Any, store: Store, settings: CrawlSettings, caplog: pytest.LogCaptureFixture
) -> None:
    site.pages["/a.jpg"] = jpeg(1)
    site.index("/a.jpg")
    sources = [
        site.source(name="down", **UNREACHABLE),
        FolderSource(name="missing", path="nowhere", day=DAY),
        PagesSource(name="no-contact", start_urls=["http://example.org/{day}"]),
        site.source(name="up"),
    ]
    ref = crawl_day(DAY, sources=sources, store=store, settings=settings)
    assert {row["source"]: row["reason"] or row["status"] for row in rows(store, ref)} == {
        "down": "connection_refused",
        "up": "stored",
    }
    unavailable = store.tables.facts(ref)["unavailable"]
    assert list(unavailable) == ["down", "missing", "no-contact"]
    for source, trouble in {"down": "reached", "missing": "no folder", "no-contact": "contact"}.items():
        assert trouble in unavailable[source]
        assert unavailable[source] in caplog.text


def test_a_live_source_has_today_only(jpeg: Encode, site: Any, store: Store, settings: CrawlSettings) -> None:
    site.pages["/a.jpg"] = jpeg(1)
    site.index("/a.jpg")
    live = site.source(start_urls=[f"{site.url}/"])
    past = crawl_day(DAY, sources=[live], store=store, settings=settings)
    (row,) = rows(store, past)
    assert (row["status"], row["reason"], row["url"]) == ("not_crawled", "not_today", f"{site.url}/")
    assert site.asked == []
    assert crawl_day(DAY, sources=[live], store=store, settings=settings) == past
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    ref = crawl_day(today, sources=[live], store=store, settings=settings)
    assert reasons(store, ref) == {"a.jpg": "stored"}


def test_a_live_source_takes_up_what_a_past_day_left_open(
    jpeg: Encode, site: Any, store: Store, settings: CrawlSettings
) -> None:
    site.pages |= {"/a.jpg": jpeg(1), "/new.jpg": jpeg(2)}
    site.index("/new.jpg")
    live = site.source(start_urls=[f"{site.url}/"])
    with Journal(store.home.journal_url) as journal:
        journal.discover("site", DAY, [Found(f"{site.url}/a.jpg", "picture", 1)], most=10)
    ref = crawl_day(DAY, sources=[live], store=store, settings=settings)
    assert reasons(store, ref) == {"a.jpg": "stored"}
    assert site.asked == ["/robots.txt", "/a.jpg"]


def test_a_day_without_anything_is_an_empty_table(store: Store, settings: CrawlSettings) -> None:
    ref = crawl_day(DAY, sources=[], store=store, settings=settings)
    assert ref.rows == 0
    assert store.tables.facts(ref) == {"state": "empty"}


def test_a_partition_that_is_no_day_is_refused(store: Store, settings: CrawlSettings) -> None:
    with pytest.raises(InputError, match="YYYY-MM-DD"):
        crawl_day("yesterday", sources=[], store=store, settings=settings)


def test_the_crawl_ends_at_its_limit_of_addresses(
    jpeg: Encode, site: Any, store: Store, settings: CrawlSettings
) -> None:
    site.pages |= {f"/{number}.jpg": jpeg(number) for number in range(6)}
    site.index(*(f"/{number}.jpg" for number in range(6)))
    limits = settings.model_copy(update={"max_addresses": 4})
    ref = crawl_day(DAY, sources=[site.source()], store=store, settings=limits)
    assert reasons(store, ref) == {"0.jpg": "stored", "1.jpg": "stored", "2.jpg": "stored"}


def test_an_address_with_a_password_is_refused_for_good_and_the_password_kept_nowhere(
    jpeg: Encode, site: Any, store: Store, settings: CrawlSettings
) -> None:
    moved = {"Location": f"http://ann:secret@127.0.0.1:{site.port}/a.jpg"}
    site.pages |= {"/a.jpg": jpeg(1), "/moved.jpg": (302, moved, b"")}
    site.index(
        f"http://ann:secret@127.0.0.1:{site.port}/a.jpg",
        f"//ann:secret@127.0.0.1:{site.port}/b.jpg",
        "ftp://ann:secret@127.0.0.1/c.jpg",
        "http://ann:secret@[::1/d.jpg",
        "/a.jpg",
        "/moved.jpg",
    )
    ref = crawl_day(DAY, sources=[site.source()], store=store, settings=settings)
    assert {row["url"].replace(site.url, ""): row["reason"] or row["status"] for row in rows(store, ref)} == {
        "/a.jpg": "stored",
        "/moved.jpg": "password_in_address",
        f"http://@127.0.0.1:{site.port}/a.jpg": "password_in_address",
        f"http://@127.0.0.1:{site.port}/b.jpg": "password_in_address",
        "ftp://@127.0.0.1/c.jpg": "unsupported_scheme",
        "http://@[::1/d.jpg": "malformed_address",
    }
    asked = list(site.asked)
    assert crawl_day(DAY, sources=[site.source()], store=store, settings=settings) == ref
    assert site.asked == asked
    with Journal(store.home.journal_url) as journal:
        assert "secret" not in str(list(journal.outcomes("site", DAY)))


def test_a_picture_behind_a_link_to_a_page_is_stored(
    jpeg: Encode, site: Any, store: Store, settings: CrawlSettings
) -> None:
    site.pages["/view"] = (200, {"Content-Type": "image/jpeg"}, jpeg(1))
    site.index('<a href="/view">large</a>', '<a href="/notes">notes</a>')
    site.pages["/notes"] = (200, {"Content-Type": "application/pdf"}, b"%PDF-1.7 \x00\x01")
    ref = crawl_day(DAY, sources=[site.source()], store=store, settings=settings)
    assert reasons(store, ref) == {"view": "stored", "notes": "not_a_page"}


@pytest.mark.parametrize("encoding", ["hex", "base64", "idna", "undefined", "punycode", "no-such-encoding"])
def test_a_page_in_an_encoding_that_is_none_is_read_all_the_same(
    jpeg: Encode, site: Any, store: Store, settings: CrawlSettings, encoding: str
) -> None:
    site.pages["/a.jpg"] = jpeg(1)
    site.pages["/"] = (
        200,
        {"Content-Type": f"text/html; charset={encoding}"},
        b'<base href="http://[/">\xff<a href="http://[::1">n</a><img src="/a.jpg">',
    )
    ref = crawl_day(DAY, sources=[site.source()], store=store, settings=settings)
    assert reasons(store, ref)["a.jpg"] == "stored"


def test_a_redirect_to_a_malformed_address_is_refused_for_good(
    site: Any, store: Store, settings: CrawlSettings
) -> None:
    targets = ["http://[::1/", "http://127.0.0.1:99999/", "http://1.2.3.4.5/", "http://256.1.1.1/a.jpg"]
    site.pages |= {f"/{number}.jpg": (302, {"Location": to}, b"") for number, to in enumerate(targets)}
    site.index(*site.pages)
    ref = crawl_day(DAY, sources=[site.source()], store=store, settings=settings)
    assert reasons(store, ref) == {f"{number}.jpg": "malformed_address" for number in range(len(targets))}
    assert {row["status"] for row in rows(store, ref)} == {"refused"}


def test_a_stored_picture_that_is_gone_is_asked_for_again(
    jpeg: Encode, site: Any, store: Store, settings: CrawlSettings
) -> None:
    site.pages |= {"/a.jpg": jpeg(1), "/b.jpg": jpeg(2)}
    site.index("/a.jpg", "/b.jpg")
    ref = crawl_day(DAY, sources=[site.source()], store=store, settings=settings)
    store.pictures.delete(rows(store, ref)[0]["image_id"])
    site.asked.clear()
    again = crawl_day(DAY, sources=[site.source()], store=store, settings=settings)
    assert "/a.jpg" in site.asked
    assert "/b.jpg" not in site.asked
    assert [row["image_id"] for row in rows(store, again)] == [row["image_id"] for row in rows(store, ref)]
    assert all(row["image_id"] in store.pictures for row in rows(store, again))


def start(job: CrawlJob) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        [sys.executable, "-m", "selfai_pipeline.sources.crawl_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(job.to_json().encode() + b"\n")
    process.stdin.flush()
    return process


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def test_a_killed_crawl_loses_nothing_and_goes_on(
    jpeg: Encode, site: Any, store: Store, settings: CrawlSettings
) -> None:
    gate = threading.Event()

    def waits(handler: BaseHTTPRequestHandler) -> None:
        gate.wait(20)
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(jpeg(99))

    early = {f"/early-{number}.jpg": jpeg(number) for number in range(10)}
    late = [f"/late-{number}.jpg" for number in range(10)]
    site.pages |= {**early, **dict.fromkeys(late, waits)}
    site.index(*early, *late)
    source = site.source()
    with Journal(store.home.journal_url) as journal:
        journal.discover("site", DAY, [Found(f"{site.url}/?{DAY}", "page")], most=100)
        job = CrawlJob(DAY, source, settings, str(store.home.root), store.files.url)
        process = start(job)
        try:
            wait_until(lambda: len(list(journal.outcomes("site", DAY))) == 11)
        finally:
            process.kill()
            process.communicate()
        gate.set()
        for outcome in journal.outcomes("site", DAY):
            assert outcome.image_id is None or outcome.image_id in store.pictures
    site.asked.clear()
    ref = crawl_day(DAY, sources=[source], store=store, settings=settings)
    assert set(reasons(store, ref).values()) == {"stored"}
    assert ref.rows == 20
    assert sorted(site.asked) == sorted([*late, "/robots.txt"])


def test_the_crawl_ends_with_the_run_that_started_it(
    site: Any, store: Store, settings: CrawlSettings
) -> None:
    site.dripping("/a.jpg")
    site.index("/a.jpg")
    with Journal(store.home.journal_url) as journal:
        journal.discover("site", DAY, [Found(f"{site.url}/?{DAY}", "page")], most=100)
    process = start(CrawlJob(DAY, site.source(), settings, str(store.home.root), store.files.url))
    wait_until(lambda: "/a.jpg" in site.asked)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(timeout=20) == 1
    assert process.stdout is not None
    process.stdout.close()


def test_a_store_that_cannot_be_written_stops_the_crawl_in_one_sentence(
    jpeg: Encode, site: Any, store: Store, settings: CrawlSettings
) -> None:
    site.pages["/a.jpg"] = jpeg(1)
    site.index("/a.jpg")
    (store.home.root / "pictures").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written"):
        crawl_day(DAY, sources=[site.source()], store=store, settings=settings)
    (store.home.root / "pictures").unlink()
    ref = crawl_day(DAY, sources=[site.source()], store=store, settings=settings)
    assert reasons(store, ref) == {"a.jpg": "stored"}


def test_a_crawl_that_dies_says_that_nothing_is_lost(
    site: Any, store: Store, settings: CrawlSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.index()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(CrawlInterrupted, match="run again") as caught:
        crawl_day(DAY, sources=[site.source()], store=store, settings=settings)
    assert not isinstance(caught.value, PassingTrouble), "a defect is not worth another try"


def test_a_crawl_that_is_killed_is_worth_another_try(
    site: Any, store: Store, settings: CrawlSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    site.index()
    killed = tmp_path / "killed"
    killed.write_text("#!/bin/sh\nkill -9 $$\n")
    killed.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(killed))
    with pytest.raises(PassingTrouble, match="status -9"):
        crawl_day(DAY, sources=[site.source()], store=store, settings=settings)


def test_a_job_survives_its_journey(site: Any, store: Store, settings: CrawlSettings) -> None:
    job = CrawlJob(DAY, site.source(), settings, str(store.home.root), store.files.url)
    assert CrawlJob.from_json(job.to_json()) == job
    assert os.linesep not in job.to_json()


def test_page_and_pictures_may_come_compressed(
    jpeg: Encode, site: Any, store: Store, settings: CrawlSettings
) -> None:
    site.index("/a.jpg")
    _, headers, body = site.pages["/"]  # type: ignore[misc]
    site.pages["/"] = (200, {**headers, "Content-Encoding": "gzip"}, gzip.compress(body))  # type: ignore[arg-type]
    site.pages["/a.jpg"] = (200, {"Content-Encoding": "gzip"}, gzip.compress(jpeg(1)))
    ref = crawl_day(DAY, sources=[site.source()], store=store, settings=settings)
    (row,) = rows(store, ref)
    with Image.open(io.BytesIO(store.pictures.get(row["image_id"]))) as image:
        assert image.size == (64, 48)


def test_the_log_tells_counts_and_no_addresses(
    jpeg: Encode, site: Any, store: Store, settings: CrawlSettings, caplog: pytest.LogCaptureFixture
) -> None:
    site.pages["/a.jpg"] = jpeg(1)
    site.index("/a.jpg", "/gone.jpg")
    caplog.set_level("INFO")
    ref = crawl_day(DAY, sources=[site.source()], store=store, settings=settings)
    assert f"crawled {DAY}: 1 http_404, 1 stored" in caplog.text
    assert "127.0.0.1" not in caplog.text
    assert rows(store, ref)[0]["image_id"] not in caplog.text
