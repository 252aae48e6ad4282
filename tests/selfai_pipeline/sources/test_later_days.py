"""A later day asks for news only: what is the same as before is neither sent nor processed once more."""

from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from selfai_pipeline.sources.journal import Journal
from selfai_pipeline.store import Store

Crawl = Callable[..., Any]
Encode = Callable[..., bytes]
FIRST, SECOND, THIRD = "2026-01-01", "2026-01-02", "2026-01-03"


def conditional(site: Any) -> dict[str, bool]:
    """Whether each address was asked for news only; the rules of the host and the day's own page aside."""
    return {
        visit.path: visit.is_conditional
        for visit in site.visits
        if visit.path != "/robots.txt" and not visit.path.startswith("/?")
    }


@pytest.fixture
def gallery(jpeg: Encode, site: Any) -> Any:
    """A page of the day links to a page with two pictures, each with another validator."""
    site.dated_index("/gallery", "/a.jpg", "/b.jpg", '<a href="/deep">more</a>')
    site.dated("/a.jpg", jpeg(1))
    site.dated("/b.jpg", jpeg(2), **{"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"})
    site.dated_index("/deep", "/c.jpg")
    site.dated("/c.jpg", jpeg(3))
    site.index('<a href="/gallery">gallery</a>')
    return site


def test_a_later_day_costs_conditional_requests_only(gallery: Any, crawl: Crawl) -> None:
    source = gallery.source(depth=2)
    first = crawl(source, day=FIRST)
    assert first.reasons == dict.fromkeys(["/a.jpg", "/b.jpg", "/c.jpg"], "stored")
    gallery.visits.clear()
    second = crawl(source, day=SECOND)
    assert conditional(gallery) == dict.fromkeys(["/gallery", "/a.jpg", "/b.jpg", "/deep", "/c.jpg"], True)
    assert {visit.status for visit in gallery.visits if visit.is_conditional} == {304}
    assert second.statuses == dict.fromkeys(["/a.jpg", "/b.jpg", "/c.jpg"], "unchanged")
    for row, before in zip(second.rows, first.rows, strict=True):
        assert (row["reason"], row["unchanged_since"]) == ("not_modified", FIRST)
        assert row["image_id"] == before["image_id"]
        assert (before["reason"], before["unchanged_since"]) == (None, None)


def test_each_day_keeps_its_table_and_names_the_day_that_holds_the_picture(
    gallery: Any, crawl: Crawl
) -> None:
    source = gallery.source(depth=2)
    refs = {day: crawl(source, day=day).ref for day in (FIRST, SECOND, THIRD)}
    asked = list(gallery.asked)
    third = crawl(source, day=THIRD)
    assert {row["unchanged_since"] for row in third.rows} == {FIRST}
    assert {day: crawl(source, day=day).ref for day in refs} == refs
    assert gallery.asked == asked


def test_what_changed_is_taken(jpeg: Encode, gallery: Any, crawl: Crawl) -> None:
    source = gallery.source(depth=2)
    crawl(source, day=FIRST)
    gallery.dated("/a.jpg", jpeg(8))
    gallery.dated_index("/gallery", "/a.jpg", "/new.jpg")
    gallery.dated("/new.jpg", jpeg(9))
    assert crawl(source, day=SECOND).reasons == {"/a.jpg": "stored", "/new.jpg": "stored"}
    third = crawl(source, day=THIRD)
    assert {row["unchanged_since"] for row in third.rows} == {SECOND}


def test_the_same_picture_from_a_server_without_validators_is_unchanged_too(
    jpeg: Encode, site: Any, crawl: Crawl
) -> None:
    site.pages["/a.jpg"] = jpeg(1)
    site.index("/a.jpg")
    first = crawl(site.source(), day=FIRST)
    second = crawl(site.source(), day=SECOND)
    assert second.reasons == {"/a.jpg": "same_bytes"}
    assert second.rows[0]["status"] == "unchanged"
    assert second.rows[0]["unchanged_since"] == FIRST
    assert second.rows[0]["image_id"] == first.rows[0]["image_id"]
    site.pages["/a.jpg"] = jpeg(2)
    assert crawl(site.source(), day=THIRD).reasons == {"/a.jpg": "stored"}


@pytest.mark.parametrize(("orientation", "expected"), [(1, "same_bytes"), (6, "stored")])
def test_other_metadata_around_the_same_pixels_count_where_they_turn_the_picture(
    jpeg: Encode, site: Any, crawl: Crawl, orientation: int, expected: str
) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "ANOTHER CAMERA"
    site.pages["/a.jpg"] = jpeg(1)
    site.index("/a.jpg")
    first = crawl(site.source(), day=FIRST)
    site.pages["/a.jpg"] = jpeg(1, exif=exif)
    second = crawl(site.source(), day=SECOND)
    assert second.reasons == {"/a.jpg": expected}
    assert second.rows[0]["image_id"] == first.rows[0]["image_id"]


def test_a_picture_that_left_the_store_is_asked_for_without_a_condition(
    gallery: Any, crawl: Crawl, store: Store
) -> None:
    first = crawl(gallery.source(), day=FIRST)
    store.pictures.delete(first.rows[0]["image_id"])
    gallery.visits.clear()
    second = crawl(gallery.source(), day=SECOND)
    assert second.reasons == {"/a.jpg": "stored", "/b.jpg": "not_modified"}
    assert conditional(gallery) == {"/gallery": True, "/a.jpg": False, "/b.jpg": True}


def test_other_limits_ask_for_the_content_again(gallery: Any, crawl: Crawl) -> None:
    crawl(gallery.source(), day=FIRST)
    gallery.visits.clear()
    second = crawl(gallery.source(), day=SECOND, max_pixels=2000)
    assert second.reasons == {"/a.jpg": "too_many_pixels", "/b.jpg": "too_many_pixels"}
    assert not any(conditional(gallery).values())


def test_a_deeper_crawl_follows_the_links_of_an_unchanged_page(gallery: Any, crawl: Crawl) -> None:
    crawl(gallery.source(depth=1), day=FIRST)
    second = crawl(gallery.source(depth=2), day=SECOND)
    assert second.reasons == {"/a.jpg": "not_modified", "/b.jpg": "not_modified", "/c.jpg": "stored"}


def test_an_unchanged_page_that_asks_not_to_follow_its_links_still_does(
    jpeg: Encode, site: Any, crawl: Crawl
) -> None:
    site.dated_index("/gallery", '<meta name="robots" content="nofollow">', '<a href="/deep">more</a>')
    site.index("/c.jpg", path="/deep")
    site.index('<a href="/gallery">gallery</a>')
    for day in (FIRST, SECOND):
        assert crawl(site.source(depth=2), day=day).rows == []
    assert "/deep" not in site.asked


def test_what_is_reserved_or_denied_by_now_is_refused_though_it_did_not_change(
    jpeg: Encode, gallery: Any, crawl: Crawl
) -> None:
    first = crawl(gallery.source(), day=FIRST)
    gallery.dated("/a.jpg", jpeg(1), ETag=f'"{first.rows[0]["image_id"]}"', **{"X-Robots-Tag": "all"})
    crawl(gallery.source(), day=SECOND)
    gallery.dated("/a.jpg", jpeg(1), ETag=f'"{first.rows[0]["image_id"]}"', **{"X-Robots-Tag": "noai"})
    third = crawl(gallery.source(), day=THIRD, deny_pictures=[first.rows[1]["image_id"]])
    assert third.reasons == {"/a.jpg": "noai", "/b.jpg": "denied_picture"}
    assert [row["image_id"] for row in third.rows] == [None, None]


def test_conditions_go_to_the_address_that_answered_and_to_no_other(
    jpeg: Encode, site: Any, crawl: Crawl
) -> None:
    """A validator says something of one address only: the new target may carry the same one by chance."""
    site.dated("/old.jpg", jpeg(1), ETag='"1"')
    site.dated("/new.jpg", jpeg(2), ETag='"1"')
    site.pages["/moved.jpg"] = (302, {"Location": "/old.jpg"}, b"")
    site.index("/moved.jpg")
    crawl(site.source(), day=FIRST)
    site.visits.clear()
    assert crawl(site.source(), day=SECOND).reasons == {"/moved.jpg": "not_modified"}
    assert conditional(site) == {"/moved.jpg": False, "/old.jpg": True}
    site.pages["/moved.jpg"] = (302, {"Location": "/new.jpg"}, b"")
    site.visits.clear()
    assert crawl(site.source(), day=THIRD).reasons == {"/moved.jpg": "stored"}
    assert conditional(site) == {"/moved.jpg": False, "/new.jpg": False}


def test_an_unasked_304_is_refused(site: Any, crawl: Crawl) -> None:
    site.pages["/a.jpg"] = (304, {}, b"")
    site.index("/a.jpg")
    assert crawl(site.source()).reasons == {"/a.jpg": "http_304"}


def test_a_source_asks_for_news_of_its_own_fetches_only(gallery: Any, crawl: Crawl) -> None:
    crawl(gallery.source(name="one"), day=FIRST)
    gallery.visits.clear()
    assert set(crawl(gallery.source(name="two"), day=SECOND).reasons.values()) == {"stored"}
    assert not any(conditional(gallery).values())


def test_validators_that_fit_no_header_are_left(jpeg: Encode, site: Any, crawl: Crawl, store: Store) -> None:
    site.pages["/a.jpg"] = (200, {"ETag": '"' + "x" * 1000 + '"', "Last-Modified": "yesterd\xe4y"}, jpeg(1))
    site.index("/a.jpg")
    crawl(site.source())
    with Journal(store.home.journal_url) as journal:
        outcome = journal.last("site", FIRST, f"{site.url}/a.jpg")
    assert outcome is not None
    assert (outcome.etag, outcome.last_modified) == (None, None)
