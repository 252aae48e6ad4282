"""One day of every source: ask what is still to be asked, then build the table from the journal."""

import contextlib
import datetime
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from selfai_pipeline.errors import InputError, PassingTrouble, SelfaiError, StorageError
from selfai_pipeline.sources.crawl_job import CrawlJob, rules_fingerprint
from selfai_pipeline.sources.deny_lists import judge_again
from selfai_pipeline.sources.folder import is_from, read_folder
from selfai_pipeline.sources.journal import FAILED, HELD, READ, UNCHANGED, Found, Journal, Outcome
from selfai_pipeline.sources.settings import (
    SAMPLE_GALLERY,
    CrawlSettings,
    FolderSource,
    PagesSource,
    Source,
    is_day,
    is_loopback_host,
)
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef

logger = logging.getLogger("selfai.sources")

NOT_CRAWLED = "not_crawled"


class CrawlInterrupted(SelfaiError):
    """The process that crawls ended before its work was done; what it stored is kept."""


class CrawlKilled(CrawlInterrupted, PassingTrouble):
    """A signal ended the process that crawls (the system was out of memory, say)."""


class SourceUnreachable(InputError, PassingTrouble):
    """Not one address of a source answered."""


def crawl_day(
    day: str, *, sources: list[Source], store: Store, settings: CrawlSettings, insists: bool = False
) -> TableRef:
    """Crawl every source for one day and write its table of `raw_crawl`.

    Only addresses without a final outcome are asked, so a second call asks nothing again and gives the same
    hash; failures that may pass (timeouts, refused connections, 5xx, 429) are not final. A live source has
    the pictures of today only: asked for another day for which the journal has nothing, it gives one row
    `not_crawled`.

    A source that cannot be crawled (unreachable, its folder or the contact missing) does not hold up the
    others. Facts: `counts` by outcome, `unavailable` with such sources and what is wrong with each, where
    there are any, `state` crawled or empty.

    Args:
        day: the partition, YYYY-MM-DD.
        insists: raise a source's passing trouble even where others gave rows, because the caller tries again.

    Raises:
        InputError: `day` is no day; or a source cannot be crawled, and no other gave a row.
        StorageError: the store or the journal cannot be written.
        CrawlInterrupted: a crawl ended early; run again to go on.
        PassingTrouble: as one of these, `SourceUnreachable` or `CrawlKilled`.
    """
    if not is_day(day):
        raise InputError(f"{day!r} is not a day", where="partition", mend="Write it as YYYY-MM-DD.")
    troubles: dict[str, InputError] = {}
    rows: list[dict[str, Any]] = []
    with Journal(store.home.journal_url) as journal:
        for source in sorted(sources, key=lambda one: one.name):
            try:
                _bring_in(source, day, store=store, journal=journal, settings=settings)
            except InputError as trouble:
                troubles[source.name] = trouble
                logger.error("%s", trouble)
            rows += _rows(source, day, store=store, journal=journal)
    if troubles and all(row["source"] in troubles and row["status"] == FAILED for row in rows):
        raise next(iter(troubles.values()))
    passing = [trouble for trouble in troubles.values() if isinstance(trouble, PassingTrouble)]
    if insists and passing:
        raise passing[0]
    rows.sort(key=lambda row: (row["source"], row["url"]))
    counts = Counter(row["reason"] or row["status"] for row in rows)
    facts: dict[str, Any] = {"state": "empty"}
    if rows:
        facts = {"state": "crawled", "counts": dict(sorted(counts.items()))}
    if troubles:
        facts["unavailable"] = {name: str(trouble) for name, trouble in troubles.items()}
    logger.info("crawled %s: %s", day, _in_words(counts))
    return store.tables.write(rows, asset="raw_crawl", partition=day, facts=facts)


def _bring_in(source: Source, day: str, *, store: Store, journal: Journal, settings: CrawlSettings) -> None:
    rules = rules_fingerprint(source, settings)
    judge_again(source.name, day, journal=journal, pictures=store.pictures, settings=settings, rules=rules)
    if isinstance(source, FolderSource):
        if source.day == day:
            changed = read_folder(source, store=store, journal=journal, settings=settings)
            logger.info("read %s for %s: %d files new or changed", source.name, day, changed)
        return
    if not source.is_live or day == _today():
        start = [Found(url, "page") for url in source.start_urls_of(day)]
        journal.discover(source.name, day, start, most=settings.max_addresses)
    if not journal.pending(source.name, day, rules=rules, limit=1):
        return
    _require_contact(source, settings)
    job = CrawlJob(
        day=day, source=source, settings=settings, home=str(store.home.root), files_url=store.files.url
    )
    _run(job)
    if not journal.was_reached(source.name, day):
        raise _unreachable(source, day, journal.outcomes(source.name, day))


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def _require_contact(source: PagesSource, settings: CrawlSettings) -> None:
    hosts = [*source.domains, *(urlsplit(url).hostname or "" for url in source.start_urls_of("2026-01-01"))]
    if settings.contact or all(is_loopback_host(host) for host in hosts):
        return
    raise InputError(
        "no contact is set, and a site has to be able to reach whoever crawls it",
        where=f"source {source.name}",
        mend="Set SELFAI_CONTACT to an e-mail address or a URL, or `contact` in the Launchpad for one run.",
    )


def _unreachable(source: PagesSource, day: str, outcomes: list[Outcome]) -> InputError:
    reasons = ", ".join(sorted({outcome.reason or outcome.status for outcome in outcomes}))
    hosts = [urlsplit(url).hostname or "" for url in source.start_urls_of(day)]
    if source.name == SAMPLE_GALLERY and all(is_loopback_host(host) for host in hosts):
        kind, mend = InputError, "Start it with `selfai gallery` and run again."
    else:
        kind = SourceUnreachable
        mend = "Check that the site is up and its address in sources.yaml is right, then run again."
    return kind(f"it cannot be reached ({reasons})", where=f"source {source.name}, {day}", mend=mend)


def _run(job: CrawlJob) -> None:
    """Crawl in a process of its own, and wait for its end; it is ended with this one."""
    package_root = str(Path(__file__).resolve().parents[2])
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package_root, environment.get("PYTHONPATH")]))
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "selfai_pipeline.sources.crawl_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        report: dict[str, Any] = {}
        try:
            process.stdin.write(job.to_json().encode() + b"\n")
            process.stdin.flush()
            for line in process.stdout:
                report = json.loads(line)
                if "counts" in report:
                    words = _in_words(Counter(report["counts"]))
                    logger.info("crawling %s for %s: %s", job.source.name, job.day, words)
            status = process.wait()
        except BrokenPipeError:
            status = process.wait()
        finally:
            process.kill()
            process.wait()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.stdout.close()
        if status == 0:
            return
        errors.seek(0)
        last_words = errors.read()[-2000:].decode(errors="replace").strip().splitlines()[-1:]
    if report.get("error") == StorageError.__name__:
        raise StorageError(report["message"])
    cause = f"{report['error']}: {report['message']}" if "error" in report else "".join(last_words)
    # A negative status is a signal; what the process itself reports, or dies of, is a defect.
    raise (CrawlKilled if status < 0 else CrawlInterrupted)(
        f"source {job.source.name}, {job.day}: the crawl ended early ({cause or f'status {status}'}). "
        "What was stored is kept: run again to go on."
    )


def _rows(source: Source, day: str, *, store: Store, journal: Journal) -> Iterator[dict[str, Any]]:
    """The rows of one source; pages that were read are the way to the pictures, and no rows."""
    if isinstance(source, FolderSource):
        if source.day != day:
            return
        root = f"{source.folder(store.home).resolve().as_uri()}/"
        for outcome in journal.outcomes(source.name, day):
            if is_from(outcome, source, store):
                name = _text(outcome.found.url.removeprefix(root))
                yield _row(source, outcome, url=f"file:{name}", name=name)
        return
    for outcome in journal.outcomes(source.name, day):
        if outcome.status != READ:
            url = outcome.found.url
            yield _row(source, outcome, url=url, name=_text(url.partition("?")[0].rpartition("/")[2]))
    if source.is_live and day != _today() and not journal.knows(source.name, day):
        midnight = datetime.datetime.fromisoformat(day).replace(tzinfo=datetime.UTC)
        never = Outcome(
            Found(source.start_urls[0], "page"), NOT_CRAWLED, "", reason="not_today", fetched_at=midnight
        )
        yield _row(source, never, url=never.found.url, name="")


def _text(quoted: str) -> str:
    return unquote_to_bytes(quoted).decode(errors="replace")


def _row(source: Source, outcome: Outcome, *, url: str, name: str) -> dict[str, Any]:
    return {
        "image_id": outcome.image_id if outcome.status in HELD else None,
        "url": url,
        "source": source.name,
        "fetched_at": outcome.fetched_at,
        "status": outcome.status,
        "reason": outcome.reason,
        "unchanged_since": outcome.unchanged_since if outcome.status == UNCHANGED else None,
        "licence": source.licence or None,
        "format": outcome.format,
        "bytes": outcome.bytes,
        "width": outcome.width,
        "height": outcome.height,
        "orientation": outcome.orientation,
        "fetched_sha256": outcome.fetched_sha256,
        "attributes": json.dumps({"name": name}, ensure_ascii=False),
    }


def _in_words(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {what}" for what, number in sorted(counts.items())) or "nothing"
