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
from scrapy.http import Request, Response, TextResponse
from scrapy.utils.response import get_base_url

from selfai_pipeline.sources.addresses import LONGEST_URL, recorded_url
from selfai_pipeline.sources.crawl_job import CrawlJob, take_picture
from selfai_pipeline.sources.downloader import scrapy_settings, status_and_reason
from selfai_pipeline.sources.journal import FAILED, READ, REFUSED, Found, Journal, Outcome
from selfai_pipeline.sources.page_links import page_links

STANDARD_INPUT = 0
SECONDS_BETWEEN_REPORTS = 2.0
TRANSIENT_STATUSES = (408, 425, 429)


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
        self.counts: Counter[str] = Counter()
        self.crash: BaseException | None = None
        self.under_way = 0
        self.something_ended = asyncio.Event()
        self.reported = time.monotonic()

    @classmethod
    def from_crawler(cls, crawler: Any, *args: Any, **kwargs: Any) -> "PagesSpider":
        spider: PagesSpider = super().from_crawler(crawler, *args, **kwargs)
        crawler.signals.connect(spider.remember_crash, signal=signals.spider_error)
        return spider

    def remember_crash(self, failure: Any, response: Any, spider: Any) -> None:
        self.crash = self.crash or failure.value

    async def start(self) -> AsyncIterator[Request]:
        most, after = 2 * self.job.settings.concurrency, 0
        while self.crash is None:
            waiting = self.journal.pending(self.job.source.name, self.job.day, rules=self.rules, after=after)
            if not waiting and not self.under_way:
                return
            for pending in waiting:
                after = pending.row
                reason = self.address_rules.refusal(pending.found.url)
                request = None if reason else self.request(pending.found)
                if request is None:
                    self.refuse(pending.found, reason or "malformed_address")
                    continue
                while self.under_way >= most and self.crash is None:
                    await self.until_something_ends()
                self.under_way += 1
                yield request
            if not waiting:
                await self.until_something_ends()

    async def until_something_ends(self) -> None:
        self.something_ended.clear()
        await self.something_ended.wait()

    def request(self, found: Found) -> Request | None:
        """A request for an address; None where no request can be made of it."""
        try:
            return Request(
                found.url,
                callback=self.answered,
                errback=self.not_answered,
                cb_kwargs={"found": found},
                dont_filter=True,
                priority=1 if found.kind == "page" else 0,
            )
        except ValueError:
            return None

    def answered(self, response: Response, found: Found) -> None:
        try:
            if response.status >= 500 or response.status in TRANSIENT_STATUSES:
                self.record(Outcome(found, FAILED, self.rules, reason=f"http_{response.status}"))
            elif 300 <= response.status < 400 and b"Location" in response.headers:
                # Redirects to http and https were followed before they came here.
                self.refuse(found, "unsupported_scheme")
            elif not 200 <= response.status < 300:
                self.refuse(found, f"http_{response.status}")
            else:
                self.take(response, found)
        finally:
            self.ended()

    def not_answered(self, failure: Any) -> None:
        try:
            status, reason = status_and_reason(failure.value)
            found = failure.request.cb_kwargs["found"]
            self.record(Outcome(found, status, self.rules, reason=reason))
        finally:
            self.ended()

    def take(self, response: Response, found: Found) -> None:
        """Store a picture, expected or not; read anything else for links if a page was expected."""
        outcome = take_picture(
            response.body, found=found, pictures=self.pictures, settings=self.job.settings, rules=self.rules
        )
        if found.kind == "picture" or outcome.reason not in (
            "not_a_picture",
            "unsupported_format",
            "empty_file",
        ):
            self.record(outcome)
        elif isinstance(response, TextResponse):
            self.read_page(response, found)
        else:
            self.refuse(found, "not_a_page")

    def read_page(self, response: TextResponse, found: Found) -> None:
        try:
            base_url = get_base_url(response)
        except ValueError:
            # The page names a malformed base.
            base_url = response.url
        links = page_links(response.text, base_url=base_url)
        discovered = [Found(url, "picture", found.depth + 1) for url in map(recorded_url, links.pictures)]
        if found.depth < self.job.source.depth:
            discovered += [
                Found(url, "page", found.depth + 1)
                for url in links.pages
                if len(url) <= LONGEST_URL and self.address_rules.refusal(url) is None
            ]
        self.record(Outcome(found, READ, self.rules), discovered)

    def refuse(self, found: Found, reason: str) -> None:
        self.record(Outcome(found, REFUSED, self.rules, reason=reason))

    def record(self, outcome: Outcome, discovered: list[Found] | None = None) -> None:
        self.journal.record(
            self.job.source.name,
            self.job.day,
            outcome,
            discovered=discovered or [],
            most=self.job.settings.max_addresses,
        )
        self.counts[outcome.reason or outcome.status] += 1
        if time.monotonic() - self.reported > SECONDS_BETWEEN_REPORTS:
            self.reported = time.monotonic()
            report(counts=dict(self.counts))

    def ended(self) -> None:
        self.under_way -= 1
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
