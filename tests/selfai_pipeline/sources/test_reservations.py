"""What is reserved is not taken: by headers, before the body comes, by the meta tags of a page, by lists."""

import hashlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from selfai_pipeline.sources.crawl import crawl_day
from selfai_pipeline.sources.settings import CrawlSettings, FolderSource
from selfai_pipeline.store import Store

Crawl = Callable[..., Any]
Encode = Callable[..., bytes]


@pytest.mark.parametrize(
    ("header", "value", "expected"),
    [
        ("X-Robots-Tag", "noai", "noai"),
        ("X-Robots-Tag", "noimageai", "noimageai"),
        ("X-Robots-Tag", "noindex", "noindex"),
        ("X-Robots-Tag", "none", "noindex"),
        ("X-Robots-Tag", "selfai: noimageindex", "noimageindex"),
        ("X-Robots-Tag", "googlebot: noindex, nofollow", "stored"),
        ("X-Robots-Tag", "nofollow", "stored"),
        ("TDM-Reservation", "1", "tdm_reservation"),
        ("TDM-Reservation", "0", "stored"),
    ],
)
def test_a_picture_is_reserved_by_its_headers(
    jpeg: Encode, site: Any, crawl: Crawl, header: str, value: str, expected: str
) -> None:
    site.pages["/a.jpg"] = (200, {header: value}, jpeg(1))
    site.index("/a.jpg")
    crawled = crawl(site.source())
    assert crawled.reasons == {"/a.jpg": expected}
    assert crawl(site.source()).ref == crawled.ref


def test_a_reserved_picture_costs_no_body(site: Any, crawl: Crawl) -> None:
    """Its body never ends: whoever waited for it would fail by its size."""
    hung_up: list[bool] = []

    def endless(content_type: str) -> Callable[[BaseHTTPRequestHandler], None]:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Type", content_type)
            handler.send_header("X-Robots-Tag", "index")
            handler.send_header("X-Robots-Tag", "noai")
            handler.end_headers()
            try:
                while True:
                    handler.wfile.write(bytes(100))
            except OSError:
                hung_up.append(True)

        return answer

    site.pages |= {"/a": endless("text/html"), "/b": endless("image/jpeg")}
    site.index("/a", '<a href="/b">b</a>')
    assert crawl(site.source()).reasons == {"/a": "noai", "/b": "noai"}
    assert hung_up == [True, True]


def test_a_picture_behind_a_link_to_a_page_is_reserved_whatever_it_says_it_is(
    jpeg: Encode, site: Any, crawl: Crawl
) -> None:
    site.pages["/view"] = (200, {"Content-Type": "text/plain", "X-Robots-Tag": "noindex"}, jpeg(1))
    site.index('<a href="/view">large</a>')
    assert crawl(site.source()).reasons == {"/view": "noindex"}


def test_headers_of_a_redirect_or_an_error_reserve_nothing_of_what_is_behind(
    jpeg: Encode, site: Any, crawl: Crawl
) -> None:
    reserved = {"X-Robots-Tag": "noindex"}
    site.pages |= {
        "/moved.jpg": (302, {"Location": "/a.jpg", **reserved}, b""),
        "/a.jpg": jpeg(1),
        "/gone.jpg": (404, reserved, b""),
    }
    site.index("/moved.jpg", "/gone.jpg")
    assert crawl(site.source()).reasons == {"/moved.jpg": "stored", "/gone.jpg": "http_404"}


@pytest.mark.parametrize("how", ["header", "meta", "meta for this crawler"])
@pytest.mark.parametrize(
    ("directives", "expected"),
    [
        ("index, follow", {"/a.jpg": "stored", "/deep.jpg": "stored"}),
        ("nofollow", {"/a.jpg": "stored"}),
        ("noindex", {"/page": "noindex", "/deep.jpg": "stored"}),
        ("noai", {"/page": "noai", "/deep.jpg": "stored"}),
        ("noimageai, nofollow", {"/page": "noimageai"}),
        ("none", {"/page": "noindex"}),
    ],
)
def test_a_page_that_reserves_its_pictures_gives_none_and_one_with_nofollow_no_links(
    jpeg: Encode, site: Any, crawl: Crawl, how: str, directives: str, expected: dict[str, str]
) -> None:
    name = "selfai" if how == "meta for this crawler" else "robots"
    meta = "" if how == "header" else f'<meta name="{name}" content="{directives}">'
    headers = {"X-Robots-Tag": directives} if how == "header" else {}
    body = f'<html><head>{meta}</head><img src="/a.jpg"><a href="/deep">more</a></html>'.encode()
    site.pages |= {
        "/page": (200, {"Content-Type": "text/html", **headers}, body),
        "/a.jpg": jpeg(1),
        "/deep.jpg": jpeg(2),
    }
    site.index('<a href="/page">page</a>')
    site.index("/deep.jpg", path="/deep")
    assert crawl(site.source(depth=2)).reasons == expected


def test_a_page_may_reserve_its_text_and_data_by_meta_tag(jpeg: Encode, site: Any, crawl: Crawl) -> None:
    site.pages["/a.jpg"] = jpeg(1)
    site.index('<meta name="tdm-reservation" content="1">', "/a.jpg")
    assert crawl(site.source()).reasons == {"/?2026-01-01": "tdm_reservation"}


def test_a_picture_shown_by_a_reserved_page_and_by_an_open_one_is_stored(
    jpeg: Encode, site: Any, crawl: Crawl
) -> None:
    site.pages["/a.jpg"] = jpeg(1)
    site.index('<meta name="robots" content="noai">', "/a.jpg", path="/closed")
    site.index("/a.jpg", path="/open")
    site.index('<a href="/closed">1</a>', '<a href="/open">2</a>')
    assert crawl(site.source()).reasons == {"/closed": "noai", "/a.jpg": "stored"}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_denied_picture_is_not_kept_by_the_hash_of_what_came_or_of_what_would_be_stored(
    jpeg: Encode, site: Any, crawl: Crawl, store: Store
) -> None:
    as_sent, stripped, good = jpeg(1, comment=b"x"), jpeg(2, comment=b"x"), jpeg(3)
    site.pages |= {"/a.jpg": as_sent, "/b.jpg": stripped, "/c.jpg": good}
    site.index("/a.jpg", "/b.jpg", "/c.jpg")
    elsewhere = crawl(site.source(name="trial"), day="2025-01-01")
    image_ids = {row["url"][-5]: row["image_id"] for row in elsewhere.rows}
    for image_id in image_ids.values():
        store.pictures.delete(image_id)
    crawled = crawl(site.source(), deny_pictures=[sha256(as_sent).upper(), image_ids["b"]])
    assert crawled.reasons == {"/a.jpg": "denied_picture", "/b.jpg": "denied_picture", "/c.jpg": "stored"}
    assert [name for name, image_id in image_ids.items() if image_id in store.pictures] == ["c"]
    assert [row["image_id"] is None for row in crawled.rows] == [True, True, False]


def test_deny_lists_count_for_what_is_stored_already_and_ask_the_site_for_nothing(
    jpeg: Encode, site: Any, crawl: Crawl
) -> None:
    site.pages |= {"/a.jpg": jpeg(1), "/b.jpg": jpeg(2), "/heavy.jpg": bytes(200_000)}
    site.index("/a.jpg", "/b.jpg", "/heavy.jpg")
    first = crawl(site.source())
    assert first.reasons == {"/a.jpg": "stored", "/b.jpg": "stored", "/heavy.jpg": "too_many_bytes"}
    image_id = first.rows[0]["image_id"]
    site.asked.clear()
    denied = crawl(site.source(), deny_pictures=[image_id])
    assert denied.reasons == {**first.reasons, "/a.jpg": "denied_picture"}
    assert crawl(site.source(), deny_pictures=[image_id, "0" * 64]).ref == denied.ref
    assert crawl(site.source(), deny_hosts=["127.0.0.1"]).reasons == {
        "/a.jpg": "denied_host",
        "/b.jpg": "denied_host",
        "/heavy.jpg": "too_many_bytes",
    }
    assert crawl(site.source()).ref == first.ref
    assert site.asked == []


def test_a_picture_that_is_no_longer_denied_is_asked_for_and_nothing_else(
    jpeg: Encode, site: Any, crawl: Crawl
) -> None:
    site.pages |= {"/a.jpg": jpeg(1), "/b.jpg": jpeg(2)}
    site.index("/a.jpg", "/b.jpg", "/gone.jpg")
    both = [sha256(jpeg(1)), sha256(jpeg(2))]
    assert set(crawl(site.source(), deny_pictures=both).reasons.values()) == {"denied_picture", "http_404"}
    site.asked.clear()
    crawled = crawl(site.source(), deny_pictures=both[:1])
    assert crawled.reasons == {"/a.jpg": "denied_picture", "/b.jpg": "stored", "/gone.jpg": "http_404"}
    assert site.asked == ["/robots.txt", "/b.jpg"]


def test_a_file_of_a_folder_may_be_denied_and_come_back(
    jpeg: Encode, tmp_path: Path, store: Store, settings: CrawlSettings
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(jpeg(1))
    source = FolderSource(name="folder", path=str(folder), day="2026-01-01")

    def crawl(**changes: Any) -> list[str]:
        own = settings.model_copy(update=changes)
        ref = crawl_day("2026-01-01", sources=[source], store=store, settings=own)
        return [row["reason"] or row["status"] for row in store.tables.read(ref).to_pylist()]

    denied = {"deny_pictures": [sha256(jpeg(1))]}
    assert crawl(**denied) == ["denied_picture"]
    assert crawl() == ["stored"]
    assert crawl(**denied) == ["denied_picture"]
    assert crawl() == ["stored"]
