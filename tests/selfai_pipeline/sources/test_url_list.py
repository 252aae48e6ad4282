"""Lists of addresses as sources: which rows fall on which day, and what the table says of each."""

import csv
import datetime
import errno
import gzip
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from selfai_pipeline.errors import InputError, StorageError
from selfai_pipeline.sources.crawl import CrawlDoings, crawl_day
from selfai_pipeline.sources.journal import Journal
from selfai_pipeline.sources.settings import CrawlSettings, PagesSource, UrlListSource
from selfai_pipeline.sources.url_list import attributes_of, day_of, read_list
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Record, TableRef

DAY, NEXT_DAY, LATER = "2026-01-01", "2026-01-02", "2026-01-03"
Encode = Callable[..., bytes]


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a day today."""
    return lambda day: monkeypatch.setattr("selfai_pipeline.sources.crawl.today", lambda: day)


@pytest.fixture
def listed(site: Any, store: Store) -> Callable[..., UrlListSource]:
    """A source over a CSV with these rows; addresses are whole, or paths on the site. Rewrites the CSV."""

    def write(*rows: str, header: str = "url,date,licence,alt", **values: Any) -> UrlListSource:
        lines = [header, *(f"{site.url}{row}" if row.startswith("/") else row for row in rows)]
        (store.home.root / "list.csv").write_text("\n".join(lines))
        named = {f"{name}_column": name for name in ("date", "licence") if name in header.split(",")}
        here = {"allowed_addresses": [f"127.0.0.1:{site.port}"], **named}
        return UrlListSource(**{"name": "listed", "path": "list.csv", **here, **values})

    return write


def crawl(
    source: UrlListSource, day: str, store: Store, settings: CrawlSettings, doings: CrawlDoings | None = None
) -> TableRef:
    """Crawl a day and make its table the current one."""
    ref = crawl_day(day, sources=[source], store=store, settings=settings, doings=doings)
    store.tables.point(Record(ref=ref, code_version="1", settings={}, inputs={}))
    return ref


def rows(store: Store, ref: TableRef) -> dict[str, dict[str, Any]]:
    """The rows of a table by the last part of their address."""
    return {row["url"].rpartition("/")[2]: row for row in store.tables.read(ref).to_pylist()}


def reasons(store: Store, ref: TableRef) -> dict[str, str]:
    return {name: row["reason"] or row["status"] for name, row in rows(store, ref).items()}


def test_a_row_falls_on_its_day_with_its_licence_and_its_further_columns(
    jpeg: Encode, site: Any, store: Store, settings: CrawlSettings, listed: Any
) -> None:
    site.pages |= {f"/{name}.jpg": jpeg(number) for number, name in enumerate("abc")}
    source = listed(
        f"/a.jpg,{DAY},CC0,one",
        f"/b.jpg,{DAY}T23:59:59+00:00,,",
        f"/c.jpg,{DAY}T23:00:00-05:00,,",
        licence="CC-BY",
    )
    first = crawl(source, DAY, store, settings)
    found = rows(store, first)
    assert reasons(store, first) == {"a.jpg": "stored", "b.jpg": "stored"}
    assert (found["a.jpg"]["licence"], found["b.jpg"]["licence"]) == ("CC0", "CC-BY")
    assert json.loads(found["a.jpg"]["attributes"]) == {"name": "a.jpg", "alt": "one"}
    assert json.loads(found["b.jpg"]["attributes"]) == {"name": "b.jpg"}
    assert reasons(store, crawl(source, NEXT_DAY, store, settings)) == {"c.jpg": "stored"}
    assert reasons(store, crawl(source, LATER, store, settings)) == {}
    asked = list(site.asked)
    assert crawl(source, DAY, store, settings) == first
    assert site.asked == asked


def test_a_row_without_a_date_falls_on_the_day_on_which_it_is_first_crawled(
    jpeg: Encode, site: Any, store: Store, settings: CrawlSettings, listed: Any, on: Any
) -> None:
    site.pages |= {f"/{name}.jpg": jpeg(number) for number, name in enumerate("abcd")}
    source = listed("/a.jpg,,,", f"/b.jpg,{DAY},,")
    assert reasons(store, crawl(source, DAY, store, settings)) == {"b.jpg": "stored"}
    on(NEXT_DAY)
    first = crawl(source, NEXT_DAY, store, settings)
    assert reasons(store, first) == {"a.jpg": "stored"}
    source = listed("/a.jpg,,,", "/b.jpg,,,", "/d.jpg,,,")
    on(LATER)
    assert reasons(store, crawl(source, LATER, store, settings)) == {"d.jpg": "stored"}
    assert crawl(source, NEXT_DAY, store, settings) == first


def test_a_list_without_dates_is_live(
    jpeg: Encode, site: Any, store: Store, settings: CrawlSettings, listed: Any, on: Any
) -> None:
    site.pages["/a.jpg"] = jpeg(1)
    source = listed("/a.jpg", header="url")
    on(NEXT_DAY)
    (row,) = store.tables.read(crawl(source, DAY, store, settings)).to_pylist()
    assert (row["url"], row["status"], row["reason"]) == ("list.csv", "not_crawled", "not_today")
    assert reasons(store, crawl(source, NEXT_DAY, store, settings)) == {"a.jpg": "stored"}
    on(LATER)
    nothing_new = crawl(source, LATER, store, settings)
    assert nothing_new.rows == 0
    on("2026-01-04")
    assert crawl(source, LATER, store, settings) == nothing_new, "a day with nothing new was crawled"


def test_pictures_only_are_taken_and_every_other_answer_is_a_refusal(
    jpeg: Encode, site: Any, internal_site: Any, store: Store, settings: CrawlSettings, listed: Any
) -> None:
    site.pages |= {"/a.jpg": jpeg(1), "/robots.txt": b"User-agent: *\nDisallow: /no/"}
    site.index("/b.jpg", path="/page.html")
    source = listed(
        "/no/c.jpg",
        "/a.jpg#top",
        "/page.html",
        "/gone.jpg",
        f"{internal_site.url}/secret.jpg",
        "http://169.254.169.254/latest",
        "http://[::1/odd.jpg",
        "file:///etc/hostname",
        "picture.jpg",
        f"http://ann:pw@127.0.0.1:{site.port}/login.jpg",
        header="url",
    )
    at_once = datetime.datetime.now(datetime.UTC).date().isoformat()
    contact = settings.model_copy(update={"contact": "crawler@example.org"})
    ref = crawl(source, at_once, store, contact)
    assert reasons(store, ref) == {
        "a.jpg": "stored",
        "page.html": "not_a_picture",
        "c.jpg": "robots",
        "gone.jpg": "http_404",
        "secret.jpg": "private_address",
        "latest": "private_address",
        "odd.jpg": "malformed_address",
        "hostname": "unsupported_scheme",
        "picture.jpg": "unsupported_scheme",
        "login.jpg": "password_in_address",
    }
    assert internal_site.asked == []
    assert "/b.jpg" not in site.asked, "no links are followed"
    assert "pw" not in str(store.tables.read(ref).to_pylist())


def test_many_rows_that_wait_for_one_robots_txt_all_obey_it(
    jpeg: Encode, site: Any, store: Store, settings: CrawlSettings, listed: Any
) -> None:
    """Scrapy's own middleware (2.19) gives the rules to the first that waits, and lets the others go."""
    site.pages["/robots.txt"] = b"User-agent: *\nDisallow: /no/"
    names = [f"{number}.jpg" for number in range(8)]
    site.pages |= {f"/no/{name}": jpeg(number) for number, name in enumerate(names)}
    at_once = datetime.datetime.now(datetime.UTC).date().isoformat()
    source = listed(*(f"/no/{name}" for name in names), header="url")
    assert reasons(store, crawl(source, at_once, store, settings)) == dict.fromkeys(names, "robots")
    assert set(site.asked) == {"/robots.txt"}


def test_bad_rows_are_left_out_counted_and_listed_with_their_lines(
    jpeg: Encode, site: Any, store: Store, settings: CrawlSettings, listed: Any, caplog: Any
) -> None:
    site.pages["/a.jpg"] = jpeg(1)
    source = listed(
        f"/a.jpg,{DAY},,",
        "/b.jpg,2026-02-30,,",
        ",,,",
        "/c.jpg,01.02.2026,,",
        "/d.jpg,",
        f"/e.jpg,{DAY},,,,",
    )
    doings = CrawlDoings()
    ref = crawl(source, DAY, store, settings, doings)
    assert reasons(store, ref) == {"a.jpg": "stored"}
    expected = {
        "bad_date": {"rows": 2, "first_line": 3},
        "cells": {"rows": 2, "first_line": 6},
        "no_address": {"rows": 1, "first_line": 4},
    }
    assert doings.left_out == {"listed": expected}
    assert (doings.stored, doings.seconds > 0) == (1, True)
    with (store.home.imports / "listed" / "left_out_of_list.csv").open() as file:
        told = [(row["line"], row["reason"]) for row in csv.DictReader(file)]
    assert told == [("3", "bad_date"), ("4", "no_address"), ("5", "bad_date"), ("6", "cells"), ("7", "cells")]
    assert "2 bad_date, 2 cells, 1 no_address rows of the list are left out" in caplog.text
    assert "left_out" not in store.tables.facts(ref), "rows of no day leave the table of each day as it is"
    listed(f"/a.jpg,{DAY},,")
    assert crawl(source, DAY, store, settings) == ref
    assert not (store.home.imports / "listed" / "left_out_of_list.csv").exists()


def test_addresses_that_cannot_be_kept_are_left_out(site: Any, store: Store, settings: CrawlSettings) -> None:
    lines = [f"{site.url}/a.jpg", "", "  ", None, 5, ["a"], "http://x.org/\0.jpg", "http://x.org/\ud800.jpg"]
    text = "\n".join(json.dumps({"url": url, "date": DAY}) for url in lines)
    (store.home.root / "list.jsonl").write_text(text)
    here = [f"127.0.0.1:{site.port}"]
    source = UrlListSource(name="l", path="list.jsonl", date_column="date", allowed_addresses=here)
    doings = CrawlDoings()
    assert reasons(store, crawl(source, DAY, store, settings, doings)) == {"a.jpg": "http_404"}
    assert {reason: one["rows"] for reason, one in doings.left_out["l"].items()} == {
        "no_address": 5,
        "not_utf8": 1,
        "null_character": 1,
    }


@pytest.mark.parametrize(
    ("date", "day"),
    [
        ("2026-01-01", "2026-01-01"),
        (" 2026-01-01 ", "2026-01-01"),
        ("2026-01-01 23:00:00", "2026-01-01"),
        ("2026-01-01T23:00:00-05:00", "2026-01-02"),
        ("2026-01-02T01:00:00+05:00", "2026-01-01"),
        ("2026-01-01T00:00:00Z", "2026-01-01"),
        (datetime.date(2026, 1, 1), "2026-01-01"),
        (datetime.datetime(2026, 1, 1, 23), "2026-01-01"),
        (
            datetime.datetime(2026, 1, 1, 23, tzinfo=datetime.timezone(datetime.timedelta(hours=-5))),
            "2026-01-02",
        ),
        ("", None),
        (None, None),
        *[
            (bad, "")
            for bad in ("20260101", "2026-1-1", "2026-02-30", "2026-01-01x", "2026-01-01T25:00", "today")
        ],
        ("0001-01-01T00:00:00+05:00", ""),
        (20260101, ""),
        (True, ""),
    ],
)
def test_the_day_of_a_date(date: Any, day: str | None) -> None:
    assert day_of(date) == day


def test_an_address_may_have_several_days_and_counts_once_a_day(
    jpeg: Encode, site: Any, store: Store, settings: CrawlSettings, listed: Any
) -> None:
    site.pages["/a.jpg"] = jpeg(1)
    source = listed(f"/a.jpg,{DAY},CC0,first", f"/a.jpg,{DAY},CC1,second", f"/a.jpg,{NEXT_DAY},CC2,third")
    first = crawl(source, DAY, store, settings)
    assert rows(store, first)["a.jpg"]["licence"] == "CC0"
    assert store.tables.facts(first)["left_out"] == {"listed": {"duplicate": 1}}
    assert rows(store, crawl(source, NEXT_DAY, store, settings))["a.jpg"]["licence"] == "CC2"
    assert crawl(source, DAY, store, settings) == first


def test_a_day_takes_no_more_rows_than_the_limit_and_goes_on_when_it_moves(
    jpeg: Encode, site: Any, store: Store, settings: CrawlSettings, listed: Any
) -> None:
    site.pages |= {f"/{number}.jpg": jpeg(number) for number in range(4)}
    source = listed(*(f"/{number}.jpg,{DAY},," for number in range(4)))
    two = source.model_copy(update={"limits": source.limits.model_validate({"max_addresses": 2})})
    ref = crawl(two, DAY, store, settings)
    assert sorted(reasons(store, ref)) == ["0.jpg", "1.jpg"]
    assert store.tables.facts(ref)["left_out"] == {"listed": {"over_limit": 2}}
    assert crawl(two, DAY, store, settings) == ref
    assert len(reasons(store, crawl(source, DAY, store, settings))) == 4


def test_a_row_that_left_the_list_keeps_its_picture_and_what_the_list_said(
    jpeg: Encode, site: Any, store: Store, settings: CrawlSettings, listed: Any
) -> None:
    site.pages |= {"/a.jpg": jpeg(1), "/b.jpg": jpeg(2)}
    source = listed(f"/a.jpg,{DAY},CC0,one", f"/b.jpg,{DAY},CC0,two")
    first = crawl(source, DAY, store, settings)
    listed(f"/b.jpg,{DAY},CC-BY,changed")
    second = rows(store, crawl(source, DAY, store, settings))
    assert second["a.jpg"] == rows(store, first)["a.jpg"]
    assert second["b.jpg"]["licence"] == "CC-BY"
    assert json.loads(second["b.jpg"]["attributes"])["alt"] == "changed"
    (store.home.root / "list.csv").unlink()
    ref = crawl(source, DAY, store, settings)
    assert rows(store, ref) == second
    assert "there is no such file" in store.tables.facts(ref)["unavailable"]["listed"]


def test_a_list_that_cannot_be_used_does_not_hold_up_the_others(
    jpeg: Encode, site: Any, store: Store, settings: CrawlSettings, listed: Any
) -> None:
    site.pages["/a.jpg"] = jpeg(1)
    site.index("/a.jpg")
    wrong = listed(f"/a.jpg,{DAY}", header="link,date")
    useless = wrong.model_copy(update={"name": "useless", "path": "useless.jsonl"})
    (store.home.root / "useless.jsonl").write_text('{"url": 5, "date": null}\n{"url": null}\n')
    ref = crawl_day(DAY, sources=[wrong, useless, site.source()], store=store, settings=settings)
    assert reasons(store, ref)["a.jpg"] == "stored"
    unavailable = store.tables.facts(ref)["unavailable"]
    assert "list.csv, line 1: there is no column 'url'; it has 'link', 'date'" in unavailable["listed"]
    assert "line 1: not one of its 2 rows can be used (no_address). Fill in" in unavailable["useless"]
    with pytest.raises(InputError, match="there is no column 'url'"):
        crawl_day(DAY, sources=[wrong], store=store, settings=settings)


def test_hosts_outside_of_the_allowed_domains_are_not_asked(
    site: Any, store: Store, settings: CrawlSettings, listed: Any
) -> None:
    source = listed(f"/a.jpg,{DAY},,", f"http://other.example/b.jpg,{DAY},,", allowed_domains=["127.0.0.1"])
    contact = settings.model_copy(update={"contact": "crawler@example.org"})
    found = reasons(store, crawl(source, DAY, store, contact))
    assert found == {"a.jpg": "http_404", "b.jpg": "foreign_domain"}


def test_a_list_that_names_a_host_other_than_loopback_needs_a_contact(
    site: Any, store: Store, settings: CrawlSettings, listed: Any
) -> None:
    source = listed(f"/a.jpg,{DAY},,", f"http://pictures.example/b.jpg,{DAY},,")
    with pytest.raises(InputError, match="no contact is set"):
        crawl(source, DAY, store, settings)
    assert site.asked == []


def test_without_a_contact_a_list_leads_to_this_machine_only(
    site: Any, store: Store, settings: CrawlSettings, listed: Any
) -> None:
    site.pages["/a.jpg"] = (302, {"Location": "http://pictures.example/b.jpg"}, b"")
    found = reasons(store, crawl(listed(f"/a.jpg,{DAY},,"), DAY, store, settings))
    assert found == {"a.jpg": "foreign_domain"}


def test_a_list_whose_hosts_do_not_answer_is_unreachable(store: Store, settings: CrawlSettings) -> None:
    (store.home.root / "list.csv").write_text("url\nhttp://127.0.0.1:1/a.jpg")
    source = UrlListSource(name="down", path="list.csv", allowed_addresses=["127.0.0.1:1"])
    at_once = datetime.datetime.now(datetime.UTC).date().isoformat()
    with pytest.raises(InputError, match=r"source down, .*: it cannot be reached \(connection_refused\)"):
        crawl_day(at_once, sources=[source], store=store, settings=settings)


def test_a_source_has_limits_of_its_own(
    jpeg: Encode, site: Any, store: Store, settings: CrawlSettings, listed: Any
) -> None:
    site.pages["/a.jpg"] = jpeg(1)
    source = listed(f"/a.jpg,{DAY},,", limits={"max_pixels": 100})
    assert reasons(store, crawl(source, DAY, store, settings)) == {"a.jpg": "too_many_pixels"}


@pytest.mark.parametrize(
    ("source", "limits", "says"),
    [
        (
            {"allowed_addresses": ["127.0.0.1:80"]},
            {"deny_hosts": ["127.0.0.1"]},
            "127.0.0.1 is in deny_hosts too, and is never asked",
        ),
        (
            {"start_urls": ["http://127.0.0.1/a/{day}", "http://127.0.0.1/b/{day}"]},
            {"max_addresses": 1},
            "it has 2 start URLs, and max_addresses allows 1",
        ),
    ],
)
def test_limits_of_a_run_that_contradict_a_source_make_it_unavailable(
    store: Store, settings: CrawlSettings, source: dict[str, Any], limits: dict[str, Any], says: str
) -> None:
    declared = PagesSource(**{"name": "site", "start_urls": ["http://127.0.0.1/{day}"], **source})
    with pytest.raises(InputError, match="source site: its limits and those of the crawl") as caught:
        crawl_day(DAY, sources=[declared], store=store, settings=settings.model_copy(update=limits))
    assert says in str(caught.value)


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "jsonl", "parquet"])
def test_a_list_may_lie_in_an_object_store(
    jpeg: Encode, site: Any, store: Store, settings: CrawlSettings, ending: str
) -> None:
    site.pages["/a.jpg"] = jpeg(1)
    row = {"url": f"{site.url}/a.jpg", "date": DAY, "licence": None, "n": 5}
    local = store.home.root / f"list.{ending}"
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist([{**row, "date": datetime.date(2026, 1, 1)}]), local)
    else:
        text = json.dumps(row) if ending == "jsonl" else f"url,date,n\n{row['url']},{DAY},5\n"
        local.write_bytes(gzip.compress(text.encode()) if ending == "csv.gz" else text.encode())
    memory = fsspec.filesystem("memory")
    memory.pipe_file(f"/lists/{store.home.root.parent.name}.{ending}", local.read_bytes())
    source = UrlListSource(
        name="stored",
        path=f"memory://lists/{store.home.root.parent.name}.{ending}",
        date_column="date",
        allowed_addresses=[f"127.0.0.1:{site.port}"],
    )
    first = crawl(source, DAY, store, settings)
    attributes = json.loads(rows(store, first)["a.jpg"]["attributes"])
    assert attributes == {"name": "a.jpg", "n": "5" if "csv" in ending else 5}
    memory.rm(f"/lists/{store.home.root.parent.name}.{ending}")
    gone = crawl(source, DAY, store, settings)
    assert "there is no such file" in store.tables.facts(gone)["unavailable"]["stored"]


def test_a_full_disk_leaves_nothing_of_a_copy(
    store: Store, settings: CrawlSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Any, source: str, target: str, **_: Any) -> None:
        Path(target).write_bytes(b"a part")
        raise OSError(errno.ENOSPC, "No space left on device")

    memory = fsspec.filesystem("memory")
    memory.pipe_file("/full/list.csv", b"url\n")
    monkeypatch.setattr(type(memory), "get_file", full)
    with pytest.raises(StorageError, match="no space left for a copy"):
        crawl(UrlListSource(name="l", path="memory://full/list.csv", date_column="d"), DAY, store, settings)
    assert [path for path in store.home.cache.rglob("*") if path.is_file()] == []
    memory.rm("/full", recursive=True)


def test_the_lists_own_name_does_not_hide_that_of_the_picture() -> None:
    assert json.loads(attributes_of("a.jpg", {"name": "Ann"})) == {"name": "a.jpg", "name_in_list": "Ann"}


def test_what_json_has_no_form_for_is_kept_as_text() -> None:
    further = {
        "at": datetime.date(2026, 1, 1),
        "x": float("inf"),
        "half": "\ud800",
        "missing": float("nan"),
        "none": None,
        "empty": "",
    }
    found = json.loads(attributes_of("a.jpg", further))
    assert found == {"name": "a.jpg", "at": "2026-01-01", "x": "inf", "half": "?"}
    assert json.loads(attributes_of("a.jpg", {"alt": "x" * 200_000})) == {"name": "a.jpg"}


@pytest.mark.slow
def test_a_list_of_many_rows_of_other_days_needs_memory_for_this_day_only(store: Store, home: Any) -> None:
    path = store.home.root / "list.csv"
    days = [f"2026-{month:02d}-{day:02d}" for month in range(1, 13) for day in range(1, 26)]
    with path.open("w") as file:
        file.write("url,date,alt\n")
        for number in range(200_000):
            file.write(f"http://127.0.0.1:1/{number}.jpg,{days[number % 300]},a picture\n")
    source = UrlListSource(name="listed", path="list.csv", date_column="date")
    with Journal(store.home.journal_url) as journal:
        tracemalloc.start()
        try:
            found = read_list(source, DAY, is_today=False, home=home, journal=journal, most=1000)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert len(found.pictures) == 667
    assert peak < 5_000_000
