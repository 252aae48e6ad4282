"""The process that crawls one pages source: `python -m selfai_pipeline.sources.crawl_process`.

It reads a `CrawlJob` as one line of JSON from its standard input and ends when that input is closed, so that
it does not outlive the run that started it. To its standard output it writes one JSON object a line:
{"counts": ...} as it goes on, and {"error": kind, "message": ...} where it cannot.
"""

import asyncio
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, cast

import scrapy
from scrapy import signals
from scrapy.crawler import AsyncCrawlerProcess
from scrapy.exceptions import StopDownload
from scrapy.http import Headers, Request, Response

from selfai_pipeline.sources.addresses import bare_host, host_of
from selfai_pipeline.sources.answers import Answers, Asked, directives_of
from selfai_pipeline.sources.crawl_job import CrawlJob
from selfai_pipeline.sources.downloader import CONDITIONS, scrapy_settings
from selfai_pipeline.sources.frontier import Frontier
from selfai_pipeline.sources.journal import READ, Found, Journal, Links, Outcome
from selfai_pipeline.sources.news import conditions, usable
from selfai_pipeline.sources.opt_outs import refusal
from selfai_pipeline.sources.refusals import status_and_reason

STANDARD_INPUT = 0
SECONDS_BETWEEN_REPORTS = 2.0


class PagesSpider(scrapy.Spider):
    """Takes addresses out of the journal, and puts back what came of them and what they led to.

    Scrapy never holds more than a few requests, however long the journal's list is.
    """

    name = "pages"

    def __init__(self, job: CrawlJob, journal: Journal) -> None:
        super().__init__()
        self.job = job
        self.journal = journal
        self.pictures = job.store.pictures
        self.address_rules = job.address_rules
        self.rules = job.rules
        self.answers = Answers(job, pictures=self.pictures, rules=self.rules, addresses=self.address_rules)
        self.frontier: Frontier[tuple[Found, Outcome | None]] = Frontier(
            self.read_on,
            host_of=lambda item: bare_host(host_of(item[0].url)),
            most=2 * job.settings.concurrency_per_host,
        )
        self.last_row = 0
        self.counts: Counter[str] = Counter()
        self.crash: BaseException | None = None
        self.under_way = 0
        self.something_ended = asyncio.Event()
        self.reported = time.monotonic()

    @classmethod
    def from_crawler(cls, crawler: Any, *args: Any, **kwargs: Any) -> "PagesSpider":
        spider: PagesSpider = super().from_crawler(crawler, *args, **kwargs)
        crawler.signals.connect(spider.remember_crash, signal=signals.spider_error)
        crawler.signals.connect(spider.leave_what_is_reserved, signal=signals.headers_received)
        return spider

    def remember_crash(self, failure: Any, response: Any, spider: Any) -> None:
        self.crash = self.crash or failure.value

    def leave_what_is_reserved(
        self, headers: Headers, body_length: int, request: Request, spider: Any
    ) -> None:
        """End the download of a picture that its headers reserve before its body comes."""
        asked: Asked | None = request.cb_kwargs.get("asked")
        if asked is None or refusal(directives_of(headers)) is None:
            return
        if asked.found.kind == "picture" or (headers.get("Content-Type") or b"").startswith(b"image/"):
            raise StopDownload(fail=False)

    async def start(self) -> AsyncIterator[Request]:
        most = 2 * self.job.settings.concurrency
        while self.crash is None and not self.frontier.is_done:
            item = self.frontier.next() if self.under_way < most else None
            if item is None:
                if self.under_way:
                    await self.until_something_ends()
                continue
            found, _ = item
            reason = self.address_rules.refusal(found.url)
            request = None if reason else self.request(*item)
            if request is None:
                self.record(self.answers.refused(found, reason or "malformed_address"))
                self.frontier.ended(item)
                continue
            self.under_way += 1
            yield request

    async def until_something_ends(self) -> None:
        self.something_ended.clear()
        await self.something_ended.wait()

    def read_on(self) -> list[tuple[Found, Outcome | None]]:
        """The next addresses of the journal, each with what it brought on another day."""
        source, day = self.job.source.name, self.job.day
        waiting = self.journal.pending(source, day, rules=self.rules, after=self.last_row)
        self.last_row = waiting[-1].row if waiting else self.last_row
        urls = [pending.found.url for pending in waiting]
        earlier = self.journal.earlier(source, day, urls) if urls else {}
        return [(pending.found, earlier.get(pending.found.url)) for pending in waiting]

    def request(self, found: Found, earlier: Outcome | None) -> Request | None:
        """A request for an address, for news only where that will do; None where it is malformed."""
        earlier = usable(earlier, found=found, pictures=self.pictures)
        links = self.links_of(earlier) if earlier is not None else None
        try:
            request = Request(
                found.url,
                callback=self.answered,
                errback=self.not_answered,
                cb_kwargs={"asked": Asked(found, earlier, links)},
                meta={"redirect_ttl": self.job.settings.redirect_limit},
                dont_filter=True,
                priority=1 if found.kind == "page" else 0,
            )
        except ValueError:
            return None
        if earlier is not None and (earlier.status != READ or links is not None):
            address = earlier.answered_url or request.url
            request.meta[CONDITIONS] = (address, conditions(earlier, rules=self.rules))
        return request

    def links_of(self, earlier: Outcome) -> Links | None:
        """What a page led to on the day that it was read."""
        if earlier.status != READ:
            return None
        day = earlier.unchanged_since or self.job.day
        page = self.journal.last(self.job.source.name, day, earlier.found.url, statuses=(READ,))
        return Links.from_json(page.links) if page is not None and page.links is not None else None

    def answered(self, response: Response, asked: Asked) -> None:
        try:
            self.record(*self.answers.judge(response, asked))
        finally:
            self.ended(asked)

    def not_answered(self, failure: Any) -> None:
        asked: Asked = failure.request.cb_kwargs["asked"]
        try:
            status, reason = status_and_reason(failure.value)
            self.record(Outcome(asked.found, status, self.rules, reason=reason))
        finally:
            self.ended(asked)

    def record(self, outcome: Outcome, led_to: list[Found] | None = None) -> None:
        self.journal.record(
            self.job.source.name,
            self.job.day,
            outcome,
            discovered=led_to or [],
            most=self.job.settings.max_addresses,
        )
        self.frontier.may_have_more = self.frontier.may_have_more or bool(led_to)
        self.counts[outcome.reason or outcome.status] += 1
        if time.monotonic() - self.reported > SECONDS_BETWEEN_REPORTS:
            self.reported = time.monotonic()
            report(counts=dict(self.counts))

    def ended(self, asked: Asked) -> None:
        self.under_way -= 1
        self.frontier.ended((asked.found, None))
        self.something_ended.set()


def report(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def end_with_the_parent() -> None:
    """Wait for the end of the standard input; to be killed at any moment loses nothing that was stored."""
    while os.read(STANDARD_INPUT, 4096):
        pass
    os._exit(1)


def main() -> int:
    """Crawl what the job on the standard input says; returns the exit status."""
    # Unbuffered: a thread that waits in Python's own reader would crash the interpreter at its end.
    with os.fdopen(os.dup(STANDARD_INPUT), "rb", buffering=0) as lines:
        job = CrawlJob.from_json(lines.readline().decode())
    threading.Thread(target=end_with_the_parent, daemon=True).start()
    try:
        with Journal(job.store.home.journal_url) as journal:
            process = AsyncCrawlerProcess(scrapy_settings(job))
            crawler = process.create_crawler(PagesSpider)
            crawling = process.crawl(crawler, job=job, journal=journal)
            process.start()
            crawling.result()
            spider = cast(PagesSpider, crawler.spider)
            if spider.crash is not None:
                raise spider.crash
            report(counts=dict(spider.counts))
    except Exception as error:
        report(error=type(error).__name__, message=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
