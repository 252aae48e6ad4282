"""Judges and stores pictures and writes outcomes into the journal, many at once, in a process of its own.

It knows nothing of Scrapy, which would be most of its memory.
"""

import logging
import multiprocessing
import os
import threading
import traceback
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from selfai_pipeline.sources.crawl_job import CrawlJob, judge_picture
from selfai_pipeline.sources.journal import Journal
from selfai_pipeline.sources.news import with_validators, without_repeat
from selfai_pipeline.sources.outcomes import FAILED, REFUSED, Found, Links, Outcome
from selfai_pipeline.sources.settings import CrawlSettings
from selfai_pipeline.sources.tombstones import REMOVED, Tombstones

logger = logging.getLogger("selfai.sources")

UNREADABLE = "unreadable_answer"


def place_of(error: Exception) -> str:
    """What broke and where in the code, without a word of what came from outside."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}"


@dataclass(frozen=True)
class Came:
    """What came of an address, and the addresses that it led to."""

    outcome: Outcome
    led_to: list[Found] = field(default_factory=list)


@dataclass(frozen=True)
class Fetched:
    """A picture as a site sent it, not yet looked at.

    Args:
        validators: ETag and Last-Modified of the answer.
        answered: the address that answered, at the end of all redirects.
        earlier: what the address brought on another day.
    """

    found: Found
    content: bytes
    validators: dict[str, bytes | None]
    answered: str
    earlier: Outcome | None

    def judged(
        self, *, settings: CrawlSettings, rules: str, removed: Tombstones
    ) -> tuple[Outcome, bytes | None]:
        """What becomes of the picture, and the bytes that have to be stored for that."""
        if removed.refuses_address(self.answered):
            return Outcome(self.found, REFUSED, rules, reason=REMOVED), None
        outcome, content = judge_picture(
            self.content, found=self.found, settings=settings, rules=rules, removed=removed
        )
        if content is None:
            return outcome, None
        outcome = with_validators(outcome, self.validators, answered=self.answered)
        return without_repeat(outcome, self.earlier), content


@dataclass(frozen=True)
class Recorded:
    """What the journal says of an address by now.

    Args:
        what: the reason, or else the status.
        led_on: whether it led to addresses, which may be new ones.
    """

    what: str
    led_on: bool


class Recorder:
    """Writes down what came of addresses, pictures before the outcomes that tell of them."""

    def __init__(self, job: CrawlJob, journal: Journal) -> None:
        self.job = job
        self.journal = journal
        self.pictures = job.store.pictures
        self.rules = job.rules
        self.removed = Tombstones.of(job.store)
        self.pictures.sweep()

    def judged(self, item: Fetched) -> tuple[Outcome, bytes | None]:
        """As `Fetched.judged`; a defect of ours costs this picture and no other."""
        try:
            return item.judged(settings=self.job.settings, rules=self.rules, removed=self.removed)
        except Exception as error:
            logger.error("a picture could not be judged: %s", place_of(error))
            return Outcome(item.found, FAILED, self.rules, reason=UNREADABLE), None

    def write(self, items: list[Came | Fetched]) -> list[Recorded]:
        """Write down some items, each of another address: all of them, or nothing but their pictures.

        Raises:
            StorageError: the store or the journal cannot be written.
        """
        outcomes: list[Outcome] = []
        discovered: list[Found] = []
        contents: dict[str, bytes] = {}
        recorded = []
        for item in items:
            led_to: list[Found] = []
            if isinstance(item, Fetched):
                outcome, content = self.judged(item)
                if content is not None and outcome.image_id is not None:
                    contents[outcome.image_id] = content
            else:
                outcome, led_to = self._without_removed(item)
            outcomes.append(outcome)
            discovered += led_to
            recorded.append(Recorded(outcome.reason or outcome.status, bool(led_to)))
        self.pictures.put_all(contents)
        self.journal.record_all(
            self.job.source.name,
            self.job.day,
            outcomes,
            discovered=discovered,
            most=self.job.settings.max_addresses,
        )
        return recorded

    def _without_removed(self, item: Came) -> tuple[Outcome, list[Found]]:
        """What came of an address, without the removed addresses that its page names."""
        if not self.removed:
            return item.outcome, item.led_to
        outcome = item.outcome
        if self.removed.refuses_address(outcome.answered_url):
            return Outcome(outcome.found, REFUSED, outcome.rules, reason=REMOVED), []
        if outcome.links is not None:
            links = Links.from_json(outcome.links)
            pictures, pages = (
                [url for url in urls if not self.removed.refuses_address(url)]
                for urls in (links.pictures, links.pages)
            )
            outcome = replace(outcome, links=Links(pictures, pages).to_json())
        return outcome, [found for found in item.led_to if not self.removed.refuses_address(found.url)]


def start_recorder(job: CrawlJob) -> ProcessPoolExecutor:
    """A process that calls `write_items`; it ends with this one, however that ends.

    It is a fork, which costs milliseconds: to be called while this process has one thread and no database
    open.

    Raises:
        StorageError, InputError: the journal cannot be opened.
    """
    assert threading.active_count() == 1
    forking = multiprocessing.get_context("fork")
    executor = ProcessPoolExecutor(1, forking, initializer=_begin, initargs=(job,))
    # Only a call starts it, and what hinders its start comes out of a call.
    executor.submit(write_items, []).result()
    return executor


_recorders: list[Recorder | Exception] = []
"""The one of this process, if it is a recorder's; or why there is none."""


def write_items(items: list[Came | Fetched]) -> list[Recorded]:
    """`Recorder.write` in the process of `start_recorder`."""
    recorder = _recorders[0]
    if isinstance(recorder, Exception):
        raise recorder
    return recorder.write(items) if items else []


def _begin(job: CrawlJob) -> None:
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    try:
        _recorders.append(Recorder(job, Journal(job.store.home.journal_url)))
    except Exception as error:
        _recorders.append(error)


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
