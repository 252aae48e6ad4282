"""Judges and stores pictures and writes outcomes into the journal, many at once."""

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from selfai_pipeline.sources.answers import Came, Fetched
from selfai_pipeline.sources.crawl_job import CrawlJob
from selfai_pipeline.sources.journal import Found, Journal


@dataclass(frozen=True)
class Recorded:
    """What the journal says of an address by now: `what` is the reason or else the status."""

    found: Found
    what: str
    led_on: bool


class Recorder:
    """Writes down what came of addresses, pictures before the outcomes that tell of them."""

    def __init__(self, job: CrawlJob, journal: Journal) -> None:
        self.job = job
        self.journal = journal
        self.pictures = job.store.pictures
        self.rules = job.rules
        self.pictures.sweep()

    def write(self, items: list[Came | Fetched]) -> list[Recorded]:
        """Write down some items, each of another address: all of them, or nothing but their pictures.

        Raises:
            StorageError: the store or the journal cannot be written.
        """
        outcomes, discovered, contents = [], [], {}
        recorded = []
        for item in items:
            led_to: list[Found] = []
            if isinstance(item, Fetched):
                outcome, content = item.judged(settings=self.job.settings, rules=self.rules)
                if content is not None and outcome.image_id is not None:
                    contents[outcome.image_id] = content
            else:
                outcome, led_to = item.outcome, item.led_to
            outcomes.append(outcome)
            discovered += led_to
            recorded.append(Recorded(outcome.found, outcome.reason or outcome.status, bool(led_to)))
        self.pictures.put_all(contents)
        self.journal.record_all(
            self.job.source.name,
            self.job.day,
            outcomes,
            discovered=discovered,
            most=self.job.settings.max_addresses,
        )
        return recorded


_recorders: list[Recorder] = []


def start_recorder(job: CrawlJob) -> ProcessPoolExecutor:
    """A process that calls `write_items`; it ends with this one."""
    return ProcessPoolExecutor(
        1, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(job.to_json(),)
    )


def write_items(items: list[Came | Fetched]) -> list[Recorded]:
    """`Recorder.write` in the process of `start_recorder`."""
    return _recorders[0].write(items)


def _begin(job: str) -> None:
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    crawl = CrawlJob.from_json(job)
    _recorders.append(Recorder(crawl, Journal(crawl.store.home.journal_url)))


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
