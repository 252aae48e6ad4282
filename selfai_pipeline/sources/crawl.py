"""One day of every source: ask what is still to be asked, then build the table from the journal."""

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
from pydantic import ValidationError

from selfai_pipeline.errors import InputError, PassingTrouble
from selfai_pipeline.sources.addresses import is_loopback_host
from selfai_pipeline.sources.crawl_job import CrawledSource, CrawlJob, rules_fingerprint
from selfai_pipeline.sources.crawl_rows import rows_of
from selfai_pipeline.sources.crawl_run import CrawlInterrupted, CrawlKilled, in_words, run_crawl
from selfai_pipeline.sources.deny_lists import judge_again
from selfai_pipeline.sources.folder import read_folder
from selfai_pipeline.sources.journal import Journal, open_journal
from selfai_pipeline.sources.outcomes import FAILED, HELD, LISTING, LOST, READ, STORED, Found, Outcome
from selfai_pipeline.sources.settings import (
    SAMPLE_GALLERY,
    CrawlSettings,
    FolderSource,
    PagesSource,
    Source,
    UrlListSource,
    is_day,
)
from selfai_pipeline.sources.source_kinds import today
from selfai_pipeline.sources.stored_files import SourceUnreachable
from selfai_pipeline.sources.tombstones import Tombstones
from selfai_pipeline.sources.url_list import Listed, ListOfDay, read_list
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef, table_of

__all__ = ["CrawlDoings", "CrawlInterrupted", "CrawlKilled", "SourceUnreachable", "crawl_day"]

logger = logging.getLogger("selfai.sources")

DISCOVERED_AT_ONCE = 20_000


@dataclass
class CrawlDoings:
    """What one call of `crawl_day` did, beside the table, which is the same however often it is made.

    Args:
        stored: pictures that were taken into the store.
        seconds: spent on asking and reading.
        left_out: by source and reason the rows of its list that fall on no day: `rows`, and `first_line`.
    """

    stored: int = 0
    seconds: float = 0.0
    left_out: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)


def crawl_day(
    day: str,
    *,
    sources: list[Source],
    store: Store,
    settings: CrawlSettings,
    doings: CrawlDoings | None = None,
    insists: bool = False,
) -> TableRef:
    """Crawl every source for one day and write its table of `raw_crawl`.

    Only addresses without a final outcome are asked, so a second call asks nothing again and gives the same
    hash; failures that may pass (timeouts, refused connections, 5xx, 429) are not final. A live source has
    the pictures of today only: asked for another day for which the journal has nothing, it gives one row
    `not_crawled`.

    A source that cannot be crawled (unreachable, its folder or list or the contact missing, its limits
    contradict those of the crawl) does not hold up the others. Facts: `counts` by outcome, `unavailable` with
    such sources and what is wrong with each, where there are any, `left_out` by source and reason with the
    rows of lists that have this day and are not taken, where there are any, `state` crawled or empty.

    Args:
        day: the partition, YYYY-MM-DD.
        doings: takes what this call did.
        insists: raise a source's passing trouble even where others gave rows, because the caller tries again.

    Raises:
        InputError: `day` is no day; the journal cannot be used; or a source cannot be crawled, and no other
            gave a row.
        StorageError: the store or the journal cannot be written.
        CrawlInterrupted: a crawl ended early; run again to go on.
        PassingTrouble: as one of these, `SourceUnreachable` or `CrawlKilled`.
    """
    if not is_day(day):
        raise InputError(f"{day!r} is not a day", where="partition", mend="Write it as YYYY-MM-DD.")
    doings = CrawlDoings() if doings is None else doings
    troubles: dict[str, InputError] = {}
    left_over: dict[str, dict[str, int]] = {}
    parts = [table_of([], asset="raw_crawl")]
    is_today = day == today()
    removed = Tombstones.of(store)
    with open_journal(store.home) as journal:
        for source in sorted(sources, key=lambda one: one.name):
            bringing = _Bringing(source, day, is_today, store, journal, removed)
            started = time.monotonic()
            try:
                bringing.bring_in(settings)
            except InputError as trouble:
                troubles[source.name] = trouble
                logger.error("%s", trouble)
            doings.seconds += time.monotonic() - started
            doings.stored += bringing.stored
            listed = bringing.listed
            if listed.left_out.counts:
                first = listed.left_out.first
                doings.left_out[source.name] = {
                    reason: {"rows": count, "first_line": first[reason]}
                    for reason, count in sorted(listed.left_out.counts.items())
                }
            if listed.left_over:
                left_over[source.name] = dict(sorted(listed.left_over.items()))
            rows = rows_of(
                source, day, is_today=is_today, store=store, journal=journal, listed=listed.pictures
            )
            parts.append(table_of(rows, asset="raw_crawl"))
    table = pa.concat_tables(parts)
    outcomes = Counter(
        zip(*(table[name].to_pylist() for name in ("source", "status", "reason")), strict=True)
    )
    if troubles and all(source in troubles and status == FAILED for source, status, _ in outcomes):
        raise next(iter(troubles.values()))
    passing = [trouble for trouble in troubles.values() if isinstance(trouble, PassingTrouble)]
    if insists and passing:
        raise passing[0]
    counts: Counter[str] = Counter()
    for (_, status, reason), number in outcomes.items():
        counts[reason or status] += number
    facts: dict[str, Any] = {"state": "empty"}
    if outcomes:
        facts = {"state": "crawled", "counts": dict(sorted(counts.items()))}
    if troubles:
        facts["unavailable"] = {name: str(trouble) for name, trouble in troubles.items()}
    if left_over:
        facts["left_out"] = left_over
    logger.info("crawled %s: %s", day, in_words(counts))
    table = table.sort_by([("source", "ascending"), ("url", "ascending")])
    return store.tables.write(table, asset="raw_crawl", partition=day, facts=facts)


@dataclass
class _Bringing:
    """One source on one day: brings in what is still to be asked.

    `stored` and `listed` tell what came of it.
    """

    source: Source
    day: str
    is_today: bool
    store: Store
    journal: Journal
    removed: Tombstones
    stored: int = 0
    listed: ListOfDay = field(default_factory=ListOfDay)

    def bring_in(self, settings: CrawlSettings) -> None:
        """Deny lists count for what was stored before, whether or not anything else can be brought in."""
        limits = _limits(self.source, settings)
        rules = rules_fingerprint(self.source, limits)
        self.reopen_lost(rules)
        judge_again(
            self.source.name,
            self.day,
            journal=self.journal,
            pictures=self.store.pictures,
            settings=limits,
            rules=rules,
        )
        _refuse_contradictions(self.source, limits)
        if isinstance(self.source, FolderSource):
            self.read(self.source, limits)
        elif isinstance(self.source, UrlListSource):
            if (
                self.source.is_live
                and not self.is_today
                and not self.journal.knows(self.source.name, self.day)
            ):
                return
            self.read_list(self.source, limits)
            self.crawl(self.source, limits)
        else:
            if not self.source.is_live or self.is_today:
                self.discover([Found(url, "page") for url in self.source.start_urls_of(self.day)], limits)
            self.crawl(self.source, limits)

    def reopen_lost(self, rules: str) -> None:
        """Ask again for pictures that are no longer in the store (after a power cut, say)."""
        if not self.store.files.is_local:
            # An object store keeps what it has acknowledged, and asking it costs a request a picture.
            return
        lost = [
            outcome.found
            for outcome in self.journal.outcomes(self.source.name, self.day)
            if outcome.status in HELD and outcome.image_id and outcome.image_id not in self.store.pictures
        ]
        for found in lost:
            self.journal.record(self.source.name, self.day, Outcome(found, FAILED, rules, reason=LOST))
        if lost:
            logger.warning(
                "source %s, %s: %d stored pictures are no longer there, and are asked for again",
                self.source.name,
                self.day,
                len(lost),
            )

    def read(self, source: FolderSource, limits: CrawlSettings) -> None:
        if source.day and source.day != self.day:
            return
        changed = read_folder(
            source,
            self.day,
            is_today=self.is_today,
            store=self.store,
            journal=self.journal,
            settings=limits,
        )
        self.stored += changed[STORED]
        logger.info("read %s for %s: %d files new or changed", source.name, self.day, changed.total())

    def read_list(self, source: UrlListSource, limits: CrawlSettings) -> None:
        self.listed = read_list(
            source,
            self.day,
            is_today=self.is_today,
            home=self.store.home,
            journal=self.journal,
            most=limits.max_addresses,
        )
        for url, about in self.listed.pictures.items() if self.removed else ():
            licence = None if about.licence is None else self.removed.scrubbed(about.licence)
            self.listed.pictures[url] = Listed(licence, self.removed.scrubbed(about.attributes))
        addresses = iter(self.listed.pictures)
        while part := [Found(url, "picture") for url in islice(addresses, DISCOVERED_AT_ONCE)]:
            self.discover(part, limits)
        if source.is_live and self.is_today:
            # Else a later look at this day could not tell an empty day from one that nobody looked at.
            mark = Outcome(Found(source.path, LISTING), READ, "")
            self.journal.record(source.name, self.day, mark)
        left_out = self.listed.left_out.counts
        if left_out:
            logger.warning(
                "%s: %s rows of the list are left out; imports/%s/left_out_of_list.csv lists them",
                source.name,
                in_words(Counter(left_out)),
                source.name,
            )

    def discover(self, addresses: list[Found], limits: CrawlSettings) -> None:
        asked = [found for found in addresses if not self.removed.refuses_address(found.url)]
        self.journal.discover(self.source.name, self.day, asked, most=limits.max_addresses)

    def crawl(self, source: CrawledSource, limits: CrawlSettings) -> None:
        """Ask for what has no final outcome."""
        rules = rules_fingerprint(source, limits)
        if not self.journal.pending(source.name, self.day, rules=rules, limit=1):
            return
        if not limits.contact and not all(map(is_loopback_host, self.hosts(source, rules))):
            raise InputError(
                "no contact is set, and a site has to be able to reach whoever crawls it",
                where=f"source {source.name}",
                mend="Set SELFAI_CONTACT (`contact` in the Launchpad for one run) to an e-mail address.",
            )
        job = CrawlJob(
            day=self.day,
            source=source,
            settings=limits,
            home=str(self.store.home.root),
            files_url=self.store.files.url,
        )
        self.stored += run_crawl(job)[STORED]
        if not self.journal.was_reached(source.name, self.day):
            raise _unreachable(source, self.day, self.journal.outcomes(source.name, self.day))

    def hosts(self, source: CrawledSource, rules: str) -> Iterator[str]:
        """The hosts that will be asked: those that a source of pages declares, those that a list names."""
        if isinstance(source, PagesSource):
            yield from source.hosts
            return
        after = 0
        while waiting := self.journal.pending(source.name, self.day, rules=rules, after=after, limit=10_000):
            after = waiting[-1].row
            yield from filter(None, (_host_of(one.found.url) for one in waiting))


def _host_of(url: str) -> str:
    """The host of a web address; empty for what is none, which is refused before anybody is asked."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return (parts.hostname or "") if parts.scheme in ("http", "https") else ""


def _limits(source: Source, settings: CrawlSettings) -> CrawlSettings:
    """The limits that hold for a source.

    Raises:
        InputError: those in sources.yaml and those of the run contradict each other.
    """
    try:
        return source.limits.over(settings)
    except ValidationError as error:
        raise _contradiction(source, error.errors()[0]["msg"].removeprefix("Value error, ")) from None


def _refuse_contradictions(source: Source, limits: CrawlSettings) -> None:
    """Raises InputError where the limits leave nothing of what the source declares."""
    if isinstance(source, FolderSource):
        return
    try:
        source.refuse_contradictions(limits)
    except ValueError as error:
        raise _contradiction(source, str(error)) from None


def _contradiction(source: Source, what: str) -> InputError:
    return InputError(
        f"its limits and those of the crawl contradict each other: {what}",
        where=f"source {source.name}",
        mend="Mend its entry in sources.yaml, or the settings of the crawl.",
    )


def _unreachable(source: CrawledSource, day: str, outcomes: Iterable[Outcome]) -> InputError:
    reasons = ", ".join(sorted({one.reason or one.status for one in outcomes if one.found.kind != LISTING}))
    is_gallery = isinstance(source, PagesSource) and source.name == SAMPLE_GALLERY
    if is_gallery and all(map(is_loopback_host, source.hosts)):
        kind, mend = InputError, "Start it with `selfai gallery` and run again."
    else:
        kind = SourceUnreachable
        mend = "Check that the site is up and its address in sources.yaml is right, then run again."
    return kind(f"it cannot be reached ({reasons})", where=f"source {source.name}, {day}", mend=mend)
