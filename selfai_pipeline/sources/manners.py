"""How a host wants to be asked: robots.txt and its crawl-delay, Retry-After, longer pauses where it is slow.

A host is one slot of Scrapy's downloader, which all requests to it go through: robots.txt, redirects and
retries too.
"""

import asyncio
import datetime
import email.utils
import re
import time
import zlib
from collections import OrderedDict
from typing import Any
from urllib.parse import urlsplit

from scrapy.downloadermiddlewares.retry import RetryMiddleware
from scrapy.extensions.throttle import AutoThrottle
from scrapy.http import Request, Response
from scrapy.http.request import NO_CALLBACK
from scrapy.robotstxt import ProtegoRobotParser

from selfai_pipeline.sources.opt_outs import AGENT
from selfai_pipeline.sources.outcomes import FAILED, NEVER_CONNECTED, REFUSED
from selfai_pipeline.sources.refusals import NotFetched, status_and_reason

SLOT = "download_slot"
FOR_ROBOTS = "selfai_for_robots"
CRAWL_DELAY_SETTING = "SELFAI_MAX_CRAWL_DELAY_S"
RETRY_AFTER_SETTING = "SELFAI_MAX_RETRY_AFTER_S"

ROBOTS_UNAVAILABLE = "robots_unavailable"
WITHOUT_RULES = ("private_address", "denied_host", "malformed_address", "retry_later")
"""What is said of an address itself, though it was found out by asking its host for the rules."""

LARGEST_ROBOTS = 512_000
"""Bytes; RFC 9309 asks to read 500 kibibytes at least. A larger file counts as one that cannot be had."""

READ_ROBOTS_BYTES = 1_000_000
"""Of robots.txt files whose rules are held ready; in memory they take up to fifty times that."""

KEPT_ROBOTS_BYTES = 32_000_000
"""Of compressed robots.txt files; beyond it the host that was not asked for the longest is asked again."""

LONG_ROBOTS = 20_000
"""Bytes of a robots.txt that takes too long to read for others to wait."""

ROBOTS_REDIRECTS = 5
"""How many redirects RFC 9309 asks to follow for a robots.txt at least."""

ROBOTS_HOLD_S = 24 * 3600
ASKS_TO_WAIT = (429, 503)
SHORTEST_WAIT_S = 1.0


def is_for_robots(request: Request) -> bool:
    return bool(request.meta.get(FOR_ROBOTS))


class ObeyRobots:
    """robots.txt as RFC 9309 has it: one that does not exist allows all, one that cannot be had nothing.

    It is asked once for each scheme, host and port, and again after a day. Its crawl-delay becomes the
    shortest pause of the host, unless it is longer than the settings allow: then the host is refused.
    """

    def __init__(self, crawler: Any) -> None:
        self.crawler = crawler
        self.max_crawl_delay_s = crawler.settings.getfloat(CRAWL_DELAY_SETTING)
        self.files: OrderedDict[str, tuple[float, asyncio.Task[bytes | NotFetched]]] = OrderedDict()
        self.rules: OrderedDict[str, tuple[int, ProtegoRobotParser]] = OrderedDict()

    @classmethod
    def from_crawler(cls, crawler: Any) -> "ObeyRobots":
        return cls(crawler)

    async def process_request(self, request: Request) -> None:
        if is_for_robots(request):
            return
        parts = urlsplit(request.url)
        rules = await self.rules_of(f"{parts.scheme}://{parts.netloc}")
        delay = rules.crawl_delay(AGENT) or 0.0
        if delay > self.max_crawl_delay_s:
            raise NotFetched(REFUSED, "crawl_delay")
        keep_pause(self.crawler, request.meta[SLOT], delay)
        if not rules.allowed(request.url, AGENT):
            raise NotFetched(REFUSED, "robots")

    async def rules_of(self, origin: str) -> ProtegoRobotParser:
        """The rules of a host.

        Raises:
            NotFetched: why none of its addresses may be asked.
        """
        asked, task = self.files.get(origin, (0.0, None))
        if task is None or time.monotonic() - asked > ROBOTS_HOLD_S:
            self.rules.pop(origin, None)
            task = asyncio.ensure_future(self.ask(origin))
            self.files[origin] = (time.monotonic(), task)
        self.files.move_to_end(origin)
        # Cancelled with the one that asked first, it would fail all that wait for it.
        packed = await asyncio.shield(task)
        if isinstance(packed, NotFetched):
            raise NotFetched(packed.status, packed.reason)
        _, rules = self.rules.get(origin, (0, None))
        if rules is None:
            content = zlib.decompress(packed)
            if len(content) > LONG_ROBOTS:
                rules = await asyncio.to_thread(ProtegoRobotParser, content, None)
            else:
                rules = ProtegoRobotParser(content, None)
            self.rules[origin] = (len(content), rules)
            self.forget()
        else:
            self.rules.move_to_end(origin)
        return rules

    def forget(self) -> None:
        """Let go of what was not needed for the longest, as far as there is too much."""
        held = sum(size for size, _ in self.rules.values())
        while held > READ_ROBOTS_BYTES and len(self.rules) > 1:
            held -= self.rules.popitem(last=False)[1][0]
        kept = sum(map(_size_of, self.files.values()))
        for origin in list(self.files):
            if kept <= KEPT_ROBOTS_BYTES:
                break
            if self.files[origin][1].done():
                kept -= _size_of(self.files.pop(origin))

    async def ask(self, origin: str) -> bytes | NotFetched:
        """The compressed robots.txt of a host, or why none of its addresses may be asked."""
        request = Request(
            f"{origin}/robots.txt",
            meta={FOR_ROBOTS: True, "download_maxsize": LARGEST_ROBOTS, "redirect_ttl": ROBOTS_REDIRECTS},
            callback=NO_CALLBACK,
        )
        try:
            response = await self.crawler.engine.download_async(request)
        except Exception as error:
            status, reason = status_and_reason(error)
            if reason in (*WITHOUT_RULES, *NEVER_CONNECTED):
                return NotFetched(status, reason)
            return NotFetched(FAILED, ROBOTS_UNAVAILABLE)
        if response.status == 200:
            return zlib.compress(response.body, level=1)
        if 400 <= response.status < 500 and response.status != 429:
            return zlib.compress(b"")
        return NotFetched(FAILED, ROBOTS_UNAVAILABLE)


def _size_of(file: "tuple[float, asyncio.Task[bytes | NotFetched]]") -> int:
    task = file[1]
    result = task.result() if task.done() and not task.cancelled() else b""
    return len(result) if isinstance(result, bytes) else 0


def keep_pause(crawler: Any, slot: str, seconds: float) -> None:
    """Let a host have at least `seconds` between requests, until the end of the run."""
    downloader = crawler.engine.downloader
    if seconds <= shortest_pause(downloader, slot):
        return
    # A slot that was idle is dropped; the next one of its host begins with these settings.
    downloader.per_slot_settings.setdefault(slot, {})["delay"] = seconds
    if slot in downloader.slots:
        downloader.slots[slot].delay = max(downloader.slots[slot].delay, seconds)


def shortest_pause(downloader: Any, slot: str) -> float:
    """Seconds between requests to a host that nothing may shorten."""
    delay = downloader.settings.getfloat("DOWNLOAD_DELAY")
    return float(downloader.per_slot_settings.get(slot, {}).get("delay", delay))


class Throttle(AutoThrottle):
    """Scrapy's own, which knows of no crawl-delay and cuts pauses to its longest, whatever the rate is."""

    def _response_downloaded(self, response: Response, request: Request, spider: Any) -> None:
        super()._response_downloaded(response, request, spider)
        key, slot = self._get_slot(request, spider)
        if key is not None and slot is not None:
            slot.delay = max(slot.delay, shortest_pause(self.crawler.engine.downloader, key))


class PatientRetries(RetryMiddleware):
    """Tries again what failed for a passing cause, and lets a host rest that says so.

    With 429 or 503 and Retry-After no request goes to the host until then. With 429 alone the pause begins at
    a second and doubles. A host that asks for more patience than the settings have, at once or by one such
    answer after the other, is left to the next run: all its addresses fail with `retry_later`.
    """

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.patience_s = settings.getfloat(RETRY_AFTER_SETTING)
        self.restless_since: dict[str, float] = {}
        self.left: set[str] = set()

    def process_request(self, request: Request) -> None:
        if request.meta[SLOT] in self.left:
            raise NotFetched(FAILED, "retry_later")

    def process_response(
        self, request: Request, response: Response, spider: Any = None
    ) -> Request | Response:
        host = request.meta[SLOT]
        if response.status not in ASKS_TO_WAIT:
            self.restless_since.pop(host, None)
        else:
            self._rest(request, host, retry_after(response))
            if host in self.left:
                return response
        return super().process_response(request, response)

    def _rest(self, request: Request, host: str, asked_s: float | None) -> None:
        now = time.monotonic()
        since = self.restless_since.setdefault(host, now)
        wait = max(SHORTEST_WAIT_S, now - since) if asked_s is None else asked_s
        _, slot = self.crawler.engine.downloader._get_slot(request)
        if now + wait - since > self.patience_s:
            self.left.add(host)
            while slot.queue:
                _, waiting = slot.queue.popleft()
                waiting.errback(NotFetched(FAILED, "retry_later"))
        else:
            # The downloader counts the pause before the next request from here.
            slot.lastseen = max(slot.lastseen, now + wait)


def retry_after(response: Response) -> float | None:
    """Seconds that a host wants to be left alone; None where it does not say."""
    written = (response.headers.get("Retry-After") or b"").decode("latin-1").strip()
    if re.fullmatch(r"[0-9]{1,12}", written):
        return float(written)
    try:
        moment = email.utils.parsedate_to_datetime(written)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
        return max(0.0, (moment - datetime.datetime.now(datetime.UTC)).total_seconds())
    except (ValueError, OverflowError):
        # A 503 without a moment is a server's error like another one.
        return 0.0 if response.status == 503 else None
