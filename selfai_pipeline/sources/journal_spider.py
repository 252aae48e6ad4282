"""Asks for the addresses of a journal, some at a time, and puts down what came of them."""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from typing import Any, NoReturn, cast

import scrapy
from scrapy import signals
from scrapy.crawler import AsyncCrawlerProcess
from scrapy.exceptions import StopDownload
from scrapy.http import Headers, Request, TextResponse

from selfai_pipeline.sources.address_guard import slot_of
from selfai_pipeline.sources.addresses import bare_host, host_of
from selfai_pipeline.sources.answers import Answers, Asked, directives_of
from selfai_pipeline.sources.crawl_job import CrawlJob
from selfai_pipeline.sources.downloader import CONDITIONS, scrapy_settings
from selfai_pipeline.sources.frontier import Frontier
from selfai_pipeline.sources.journal import Journal
from selfai_pipeline.sources.news import conditions, usable
from selfai_pipeline.sources.opt_outs import refusal
from selfai_pipeline.sources.outcomes import FAILED, READ, Found, Links, Outcome
from selfai_pipeline.sources.recorder import UNREADABLE, Came, Fetched, Recorded, place_of
from selfai_pipeline.sources.recording import Recording, Write
from selfai_pipeline.sources.refusals import status_and_reason

SECONDS_BETWEEN_REPORTS = 2.0
SHORTEST_REST_S = 0.1
"""Shorter pauses are waited for in the downloader's own queue, which costs less than another turn."""

LONG_ANSWER = 100_000
"""Bytes of an answer that is judged beside the loop: a large page takes seconds."""

logger = logging.getLogger("selfai.sources")

Item = tuple[Found, Outcome | None]
"""An address, and what it brought on another day."""


Report = Callable[[dict[str, int]], None]


def crawl(
    job: CrawlJob,
    journal: Journal,
    *,
    executor: Executor,
    write: Write,
    report: Report,
    give_up: Callable[[Exception], NoReturn],
) -> None:
    """Ask for what is left to ask; this process crawls once.

    Args:
        executor: where `write` is called.
        write: writes down what came, as `Recorder.write`.
        report: told now and then, and at the end, how many addresses came to what.
        give_up: ends the process for a reason (a `StorageError` of the recorder, say): what is under way
            may wait for a silent host for long.
    """
    process = AsyncCrawlerProcess(scrapy_settings(job))
    # What Scrapy warns of is an outcome, or of no interest. It sets its own level when the process is made.
    logging.getLogger("scrapy").setLevel(logging.ERROR)
    crawler = process.create_crawler(JournalSpider)
    crawling = process.crawl(
        crawler, job, journal, executor=executor, write=write, report=report, give_up=give_up
    )
    # A signal shall end the process; Scrapy would let the crawl end as if it were done.
    process.start(install_signal_handlers=False)
    crawling.result()
    spider = cast(JournalSpider, crawler.spider)
    if not spider.is_done:
        give_up(RuntimeError("it ended with addresses left to ask"))
    report(dict(spider.counts))


class JournalSpider(scrapy.Spider):
    """Takes addresses out of the journal, and hands on what came of them and what they led to.

    Its own requests go through Scrapy's downloader and past its scheduler, which costs more than a download
    on a fast network: the journal is the queue. So no more requests are held than are under way.
    """

    name = "journal"

    def __init__(
        self,
        job: CrawlJob,
        journal: Journal,
        *,
        executor: Executor,
        write: Write,
        report: Report,
        give_up: Callable[[Exception], NoReturn],
    ) -> None:
        super().__init__()
        self.job = job
        self.journal = journal
        self.pictures = job.store.pictures
        self.address_rules = job.address_rules
        self.rules = job.rules
        self.answers = Answers(job, rules=self.rules, addresses=self.address_rules)
        self.frontier: Frontier[Item] = Frontier(
            self.read_on,
            host_of=lambda item: bare_host(host_of(item[0].url)),
            most=job.settings.concurrency_per_host,
            rest_of=self.rest_of,
        )
        self.last_row = 0
        self.recording = Recording(executor, write, written=self.written)
        self.unwritten = 0
        self.something_ended = asyncio.Event()
        self.counts: Counter[str] = Counter()
        self.report = report
        self.reported = time.monotonic()
        self.give_up = give_up

    @classmethod
    def from_crawler(cls, crawler: Any, *args: Any, **kwargs: Any) -> "JournalSpider":
        spider: JournalSpider = super().from_crawler(crawler, *args, **kwargs)
        crawler.signals.connect(spider.leave_what_is_reserved, signal=signals.headers_received)
        return spider

    async def start(self) -> AsyncIterator[Request]:
        """The whole crawl."""
        try:
            async with asyncio.TaskGroup() as tasks:
                recording = tasks.create_task(self.recording.run())
                asking = [tasks.create_task(self.ask_on()) for _ in range(self.job.settings.concurrency)]
                await asyncio.wait(asking)
                recording.cancel()
        except* Exception as crashes:
            self.give_up(crashes.exceptions[0])
        nothing: list[Request] = []
        for request in nothing:
            yield request

    async def ask_on(self) -> None:
        """Ask for one address after the other, until there is nothing more."""
        while not self.is_done:
            item = self.frontier.next()
            if item is None:
                # To have looked in vain may be what ends it, and then nothing ends that would wake this up.
                if not self.is_done:
                    await self.until_something_ends()
                continue
            came = await self.ask(*item)
            self.frontier.ended(item)
            self.unwritten += 1
            self.something_ended.set()
            await self.recording.add(came)

    async def until_something_ends(self) -> None:
        """Or a host has rested."""
        self.something_ended.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.something_ended.wait(), self.frontier.rest)

    def rest_of(self, host: str) -> float:
        """Seconds until a host may be asked again, where others can be asked meanwhile."""
        slot = self.crawler.engine.downloader.slots.get(slot_of(host))
        if slot is None or not slot.delay:
            return 0.0
        rest = slot.lastseen + slot.delay * (1 + len(slot.queue)) - time.monotonic()
        return float(rest) if rest > SHORTEST_REST_S else 0.0

    @property
    def is_done(self) -> bool:
        return not self.unwritten and self.frontier.is_done

    async def ask(self, found: Found, earlier: Outcome | None) -> Came | Fetched:
        """What comes of an address."""
        reason = self.address_rules.refusal(found.url)
        request = None if reason else self.request(found, earlier)
        if request is None:
            return self.answers.refused(found, reason or "malformed_address")
        try:
            response = await self.crawler.engine.download_async(request)
        except Exception as error:
            status, reason = status_and_reason(error)
            return Came(Outcome(found, status, self.rules, reason=reason))
        asked: Asked = request.cb_kwargs["asked"]
        try:
            if len(response.body) > LONG_ANSWER and isinstance(response, TextResponse):
                return await asyncio.to_thread(self.answers.judge, response, asked)
            return self.answers.judge(response, asked)
        except Exception as error:
            # A defect of ours costs this address and no other.
            logger.error("an answer could not be judged: %s", place_of(error))
            return Came(Outcome(found, FAILED, self.rules, reason=UNREADABLE))

    def written(self, recorded: Recorded) -> None:
        self.unwritten -= 1
        self.frontier.may_have_more = self.frontier.may_have_more or recorded.led_on
        self.counts[recorded.what] += 1
        self.something_ended.set()
        if time.monotonic() - self.reported > SECONDS_BETWEEN_REPORTS:
            self.reported = time.monotonic()
            self.report(dict(self.counts))

    def leave_what_is_reserved(
        self, headers: Headers, body_length: int, request: Request, spider: Any
    ) -> None:
        """End the download of a picture that its headers reserve before its body comes."""
        asked: Asked | None = request.cb_kwargs.get("asked")
        if asked is None or refusal(directives_of(headers)) is None:
            return
        if asked.found.kind == "picture" or (headers.get("Content-Type") or b"").startswith(b"image/"):
            raise StopDownload(fail=False)

    def read_on(self) -> list[Item]:
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
                cb_kwargs={"asked": Asked(found, earlier, links)},
                meta={"redirect_ttl": self.job.settings.redirect_limit},
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
