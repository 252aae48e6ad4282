"""A host is asked the way it wants to be: crawl-delay, Retry-After, longer pauses where it is slow."""

import asyncio
import datetime
import email.utils
import threading
import time
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from scrapy.http import Response
from scrapy.settings import Settings

from selfai_pipeline.sources.manners import CRAWL_DELAY_SETTING, READ_ROBOTS_BYTES, ObeyRobots, retry_after

Crawl = Callable[..., Any]
Encode = Callable[..., bytes]


def pauses(site: Any) -> list[float]:
    """Seconds between one request and the next, as they arrived."""
    return [later.moment_s - earlier.moment_s for earlier, later in pairwise(site.visits)]


def was_asked_every(site: Any, seconds: float) -> bool:
    """Whether requests left with such pauses; each may arrive a little late, and so close to the next."""
    between = pauses(site)
    return sum(between) >= seconds * len(between) - seconds / 2 and min(between) >= seconds / 2


def test_a_crawl_delay_holds_for_every_request_redirects_and_retries_included(
    jpeg: Encode, site: Any, crawl: Crawl
) -> None:
    site.pages |= {
        "/robots.txt": b"User-agent: *\nCrawl-delay: 0.25\n",
        "/a.jpg": jpeg(1),
        "/moved.jpg": (302, {"Location": "/b.jpg"}, b""),
        "/b.jpg": jpeg(2),
        "/busy.jpg": (500, {}, b""),
    }
    site.index("/a.jpg", "/moved.jpg", "/busy.jpg")
    crawled = crawl(site.source(), retries=1)
    assert crawled.reasons == {"/a.jpg": "stored", "/moved.jpg": "stored", "/busy.jpg": "http_500"}
    assert len(site.visits) == 7
    assert was_asked_every(site, 0.25)


def test_the_rate_and_the_number_of_requests_at_once_hold_for_one_host(
    jpeg: Encode, site: Any, crawl: Crawl
) -> None:
    under_way, most, lock = 0, 0, threading.Lock()

    def counts(handler: BaseHTTPRequestHandler) -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.1)
        with lock:
            under_way -= 1
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(jpeg(1))

    names = [f"/{number}.jpg" for number in range(12)]
    site.pages |= dict.fromkeys(names, counts)
    site.index(*names)
    crawl(site.source(), concurrency=8, concurrency_per_host=3, throttle_concurrency=0)
    assert 1 < most <= 3
    site.visits.clear()
    crawl(site.source(), day="2026-01-02", requests_per_second=10)
    assert was_asked_every(site, 0.1)


def test_a_host_that_asks_for_too_long_a_crawl_delay_is_refused_until_the_limit_moves(
    jpeg: Encode, site: Any, crawl: Crawl
) -> None:
    site.pages |= {"/robots.txt": b"User-agent: *\nCrawl-delay: 0.3\n", "/a.jpg": jpeg(1)}
    site.index("/a.jpg")
    crawled = crawl(site.source(), max_crawl_delay_s=0.2)
    assert crawled.reasons == {"/?2026-01-01": "crawl_delay"}
    assert site.asked == ["/robots.txt"]
    assert crawl(site.source(), max_crawl_delay_s=0.2).ref == crawled.ref
    assert site.asked == ["/robots.txt"]
    assert crawl(site.source()).reasons == {"/a.jpg": "stored"}


def test_a_crawl_delay_for_another_crawler_is_none_for_this_one(
    jpeg: Encode, site: Any, crawl: Crawl
) -> None:
    site.pages |= {
        "/robots.txt": b"User-agent: *\nCrawl-delay: 600\n\nUser-agent: SelfAI\nDisallow: /no\n",
        "/a.jpg": jpeg(1),
    }
    site.index("/a.jpg", "/no.jpg")
    assert crawl(site.source()).reasons == {"/a.jpg": "stored", "/no.jpg": "robots"}


def test_robots_txt_is_asked_once_for_each_scheme_host_and_port(
    jpeg: Encode, site: Any, internal_site: Any, crawl: Crawl
) -> None:
    site.pages |= {f"/{number}.jpg": jpeg(number) for number in range(5)}
    internal_site.pages |= {"/robots.txt": b"User-agent: *\nDisallow: /", "/x.jpg": jpeg(9)}
    site.index(*(f"/{number}.jpg" for number in range(5)), f"{internal_site.url}/x.jpg")
    both = [f"127.0.0.1:{one.port}" for one in (site, internal_site)]
    crawled = crawl(site.source(allowed_addresses=both))
    assert crawled.reasons == {"/x.jpg": "robots", **{f"/{n}.jpg": "stored" for n in range(5)}}
    assert site.asked.count("/robots.txt") == internal_site.asked.count("/robots.txt") == 1
    assert internal_site.asked == ["/robots.txt"]


def test_a_robots_txt_may_stand_behind_five_redirects_whatever_the_limit_of_addresses(
    jpeg: Encode, site: Any, crawl: Crawl
) -> None:
    site.pages |= {f"/r{step}": (301, {"Location": f"/r{step + 1}"}, b"") for step in range(1, 5)}
    site.pages |= {
        "/robots.txt": (301, {"Location": "/r1"}, b""),
        "/r5": b"User-agent: *\nDisallow: /b.jpg",
        "/a.jpg": jpeg(1),
        "/b.jpg": jpeg(2),
        "/moved.jpg": (301, {"Location": "/a.jpg"}, b""),
    }
    site.index("/a.jpg", "/b.jpg", "/moved.jpg")
    assert crawl(site.source(), redirect_limit=0).reasons == {
        "/a.jpg": "stored",
        "/b.jpg": "robots",
        "/moved.jpg": "too_many_redirects",
    }


def test_a_robots_txt_above_the_limit_of_pages_is_read_and_one_without_end_allows_nothing(
    jpeg: Encode, site: Any, crawl: Crawl
) -> None:
    rules = b"User-agent: *\nDisallow: /b.jpg\n"
    site.pages |= {"/robots.txt": b"#" * 500_000 + b"\n" + rules, "/a.jpg": jpeg(1)}
    site.index("/a.jpg", "/b.jpg")
    assert crawl(site.source(), max_bytes=10_000).reasons == {"/a.jpg": "stored", "/b.jpg": "robots"}
    site.pages["/robots.txt"] = b"#" * 1_500_000 + b"\n" + rules
    crawled = crawl(site.source(), day="2026-01-02")
    assert crawled.reasons == {"/?2026-01-02": "robots_unavailable"}


def refuses_once(site: Any, body: bytes, *, status: int = 429, **headers: str) -> Any:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        refused = site.asked.count(handler.path) == 1
        handler.send_response(status if refused else 200)
        for name, value in headers.items() if refused else ():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(b"" if refused else body)

    return answer


def in_seconds(seconds: float) -> str:
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
    return email.utils.format_datetime(moment, usegmt=True)


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_lets_the_whole_host_rest(jpeg: Encode, site: Any, crawl: Crawl, status: int) -> None:
    site.pages["/0.jpg"] = refuses_once(site, jpeg(0), status=status, Retry_After="1")
    site.pages |= {f"/{number}.jpg": jpeg(number) for number in range(1, 6)}
    names = [f"/{number}.jpg" for number in range(6)]
    site.index(*names)
    crawled = crawl(site.source(), retries=1, concurrency=1)
    assert crawled.reasons == dict.fromkeys(names, "stored")
    refused = next(place for place, visit in enumerate(site.visits) if visit.status == status)
    assert pauses(site)[refused] >= 1


def test_a_429_without_a_moment_is_waited_for_too(jpeg: Encode, site: Any, crawl: Crawl) -> None:
    site.pages["/a.jpg"] = refuses_once(site, jpeg(1))
    site.index("/a.jpg")
    assert crawl(site.source(), retries=1).reasons == {"/a.jpg": "stored"}
    assert pauses(site)[-1] >= 1


def test_a_host_that_asks_for_more_patience_is_left_to_the_next_run(
    jpeg: Encode, site: Any, crawl: Crawl
) -> None:
    site.pages["/0.jpg"] = refuses_once(site, jpeg(0), Retry_After="3600")
    names = [f"/{number}.jpg" for number in range(1, 6)]
    site.pages |= {name: jpeg(number) for number, name in enumerate(names)}
    site.index("/0.jpg", *names)
    crawled = crawl(site.source(), retries=1, concurrency=1)
    assert crawled.reasons == {"/0.jpg": "http_429", **dict.fromkeys(names, "retry_later")}
    assert {row["status"] for row in crawled.rows} == {"failed"}
    assert site.asked == ["/robots.txt", "/?2026-01-01", "/0.jpg"]
    again = crawl(site.source())
    assert again.reasons == dict.fromkeys(["/0.jpg", *names], "stored")


def test_a_host_that_answers_nothing_else_is_left_too(site: Any, crawl: Crawl) -> None:
    names = [f"/{number}.jpg" for number in range(20)]
    site.pages |= dict.fromkeys(names, (429, {"Retry-After": "1"}, b""))
    site.index(*names)
    crawled = crawl(site.source(), retries=5, concurrency=1, max_retry_after_s=1.5)
    assert set(crawled.reasons.values()) == {"http_429", "retry_later"}
    assert len(site.asked) < 8


@pytest.mark.parametrize(
    ("status", "written", "expected"),
    [
        (429, "7", 7.0),
        (503, " 120 ", 120.0),
        (429, "Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        (429, None, None),
        (429, "soon", None),
        (429, "-1", None),
        (503, "soon", 0.0),
        (503, None, 0.0),
        (429, "Fri, 31 Dec 9999 23:59:59 -9999", None),
    ],
)
def test_what_a_retry_after_says(status: int, written: str | None, expected: float | None) -> None:
    headers = {} if written is None else {"Retry-After": written}
    assert retry_after(Response("http://x.org", status=status, headers=headers)) == expected


def test_a_retry_after_may_be_a_moment() -> None:
    seconds = retry_after(Response("http://x.org", status=503, headers={"Retry-After": in_seconds(90)}))
    assert seconds is not None
    assert 85 < seconds <= 90


def test_a_slow_host_gets_longer_pauses_and_the_crawl_delay_holds_all_the_same(
    jpeg: Encode, site: Any, crawl: Crawl
) -> None:
    def slow(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(0.4)
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(jpeg(1))

    names = [f"/{number}.jpg" for number in range(6)]
    site.pages |= dict.fromkeys(names, slow)
    site.index(*names)
    crawl(site.source(), throttle_concurrency=1)
    assert max(pauses(site)[-3:]) >= 0.3
    fast = [f"/fast-{number}.jpg" for number in range(4)]
    site.pages |= {name: jpeg(2) for name in fast}
    site.pages["/robots.txt"] = b"User-agent: *\nCrawl-delay: 0.3\n"
    site.index(*fast)
    site.visits.clear()
    crawl(site.source(), day="2026-01-02", throttle_concurrency=8, max_throttle_delay_s=0.01)
    assert was_asked_every(site, 0.3)


def test_a_host_that_has_to_wait_does_not_hold_up_another_one(
    jpeg: Encode, site: Any, internal_site: Any, crawl: Crawl
) -> None:
    site.pages["/robots.txt"] = b"User-agent: *\nCrawl-delay: 0.5\n"
    waiting = [f"/{number}.jpg" for number in range(8)]
    site.pages |= {name: jpeg(1) for name in waiting}
    other = f"http://localhost:{internal_site.port}"
    internal_site.pages |= {f"/{number}.jpg": jpeg(2) for number in range(30)}
    site.index(*waiting, *(f"{other}/{number}.jpg" for number in range(30)))
    source = site.source(
        allowed_domains=["127.0.0.1", "localhost"],
        allowed_addresses=[f"127.0.0.1:{site.port}", f"127.0.0.1:{internal_site.port}"],
    )
    crawled = crawl(source, concurrency=4, concurrency_per_host=1)
    assert set(crawled.reasons.values()) == {"stored"}
    assert internal_site.visits[-1].moment_s < site.visits[-4].moment_s


def test_slow_hosts_that_would_take_every_place_hold_up_no_other(
    jpeg: Encode, site: Any, start_site: Callable[..., Any], crawl: Crawl
) -> None:
    try:
        slow = [start_site(address=f"127.0.0.{number}") for number in (2, 3)]
    except OSError:
        pytest.skip("this machine has one loopback address only")
    for one in slow:
        one.pages["/robots.txt"] = b"User-agent: *\nCrawl-delay: 1\n"
        one.pages |= {f"/{number}.jpg": jpeg(number) for number in range(6)}
    site.pages |= {f"/{number}.jpg": jpeg(number) for number in range(60)}
    links = [f"{one.url}/{number}.jpg" for one in slow for number in range(6)]
    site.index(*links, *(f"/{number}.jpg" for number in range(60)))
    everywhere = [site, *slow]
    source = site.source(
        allowed_domains=[one.address for one in everywhere],
        allowed_addresses=[f"{one.address}:{one.port}" for one in everywhere],
    )
    crawled = crawl(source, concurrency=4, concurrency_per_host=2)
    assert set(crawled.statuses.values()) == {"stored"}
    last = site.visits[-1].moment_s
    assert all(sum(visit.moment_s > last for visit in one.visits) >= 2 for one in slow)


def test_rules_that_fill_the_memory_are_let_go_of_and_read_again_without_asking() -> None:
    asked = []

    class Rules(ObeyRobots):
        async def ask(self, origin: str) -> bytes:
            asked.append(origin)
            lines = "".join(f"Disallow: {origin[-1]}/{number}\n" for number in range(15_000))
            return zlib.compress(f"User-agent: *\nDisallow: /{origin[-1]}\n{lines}".encode())

    async def look_at_all() -> tuple[list[bool], int]:
        robots = Rules(SimpleNamespace(settings=Settings({CRAWL_DELAY_SETTING: 60})))
        allowed = []
        for _ in range(2):
            for number in range(6):
                rules = await robots.rules_of(f"http://host-{number}")
                allowed += [
                    rules.allowed(f"http://host-{number}/{number}", "selfai"),
                    rules.allowed("/x", "selfai"),
                ]
        return allowed, sum(size for size, _ in robots.rules.values())

    allowed, held = asyncio.run(look_at_all())
    assert allowed == [False, True] * 12
    assert held <= READ_ROBOTS_BYTES
    assert asked == [f"http://host-{number}" for number in range(6)]


def test_no_host_but_loopback_is_asked_without_a_contact_even_for_its_rules(
    jpeg: Encode, site: Any, crawl: Crawl
) -> None:
    """The name resolves to nothing here: with a contact it would be looked up."""
    site.pages |= {
        "/robots.txt": (302, {"Location": "http://rules.invalid/robots.txt"}, b""),
        "/a.jpg": jpeg(1),
    }
    site.index("/a.jpg")
    crawled = crawl(site.source())
    assert crawled.reasons == {"/?2026-01-01": "robots_unavailable"}
    assert site.asked == ["/robots.txt"]
