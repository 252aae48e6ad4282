"""What a folder brings on one day."""

import datetime
import hashlib
from collections import Counter
from dataclasses import replace

from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home
from selfai_pipeline.sources.crawl_job import judge_picture, rules_fingerprint
from selfai_pipeline.sources.folder_files import (
    FileNotTaken,
    FolderFiles,
    holds_days,
    open_folder,
    place_of,
    root_address,
)
from selfai_pipeline.sources.journal import Journal
from selfai_pipeline.sources.outcomes import (
    FAILED,
    LISTING,
    READ,
    REASONS_FROM_RULES,
    REFUSED,
    Found,
    Outcome,
)
from selfai_pipeline.sources.settings import CrawlSettings, FolderSource
from selfai_pipeline.sources.tombstones import REMOVED, Tombstones
from selfai_pipeline.store import Store

# Status, reason and hash of the bytes: what came of a file on another day.
Facts = tuple[str, str | None, str | None]


def read_folder(
    source: FolderSource, day: str, *, is_today: bool, store: Store, journal: Journal, settings: CrawlSettings
) -> Counter[str]:
    """Take the pictures of a folder and its subfolders into the store; returns by status what is new.

    A file whose bytes are known is not taken again. Names that begin with a dot are passed over. A moved or
    replaced folder counts as a new one; a folder that is gone keeps what was taken from it. A file that could
    not be read and is gone becomes a refusal, `gone`. A subfolder that cannot be listed has an outcome too.

    A file that was removed leaves no row, though it still lies there; a copy of it under another name is
    refused.

    Of a live source a file that is known from another day with the same bytes is no news of today; on a past
    day only those files are looked at that gave no final outcome then.

    Raises:
        InputError: the folder cannot be listed, or there is none and nothing was ever taken from it.
        SourceUnreachable: the store that the folder is in does not answer.
    """
    rules = rules_fingerprint(source, settings)
    removed = Tombstones.of(store)
    root = root_address(source, day, store.home)
    before = {one.found.url: one for one in journal.outcomes(source.name, day) if is_below(root, one)}
    # Files have no moment of fetching: the start of their day keeps the table the same wherever it is made.
    moment = datetime.datetime.fromisoformat(day).replace(tzinfo=datetime.UTC)
    changed: Counter[str] = Counter()
    elsewhere: dict[str, Facts] = {}
    asked = None
    if source.is_live and is_today:
        for url, status, reason, sha256 in journal.on_other_days(source.name, day):
            elsewhere[url] = (status, reason, sha256)
    elif source.is_live:
        asked = {url for url, outcome in before.items() if _is_open(outcome, rules)}
        if not asked:
            return changed
    files = open_folder(source, day, store.home)
    if files is None:
        if not before and not holds_days(source, store.home):
            raise _missing(source, day, store.home)
        return changed
    here = set()
    try:
        for name in files.names():
            found = Found(files.address(name), "file")
            if asked is not None and found.url not in asked:
                continue
            if removed.refuses_address(found.url):
                continue
            here.add(found.url)
            last, other = before.get(found.url), elsewhere.get(found.url)
            outcome = _take(
                files,
                name,
                found,
                last=last,
                other=other,
                store=store,
                settings=settings,
                rules=rules,
                removed=removed,
            )
            if outcome is None:
                continue
            if last is None or replace(outcome, fetched_at=last.fetched_at) != last:
                journal.record(source.name, day, replace(outcome, fetched_at=moment))
                changed[outcome.status] += 1
    finally:
        files.close()
    for url, outcome in before.items():
        # A failure is tried again for as long as it stands there; this file never comes right any more.
        if outcome.status == FAILED and url not in here:
            gone = Outcome(outcome.found, REFUSED, rules, reason="gone", fetched_at=moment)
            journal.record(source.name, day, gone)
            changed[REFUSED] += 1
    if source.is_live and is_today:
        # Else a later look at this day could not tell an empty day from one that nobody looked at.
        mark = Outcome(Found(root, LISTING), READ, "", fetched_at=moment)
        journal.record(source.name, day, mark)
    return changed


def is_below(root: str, outcome: Outcome) -> bool:
    """Whether a file was taken from the folder at `root`, as it is declared now, or one below it."""
    return outcome.found.url.startswith(f"{root}/")


def _is_open(outcome: Outcome, rules: str) -> bool:
    by_other_rules = outcome.reason in REASONS_FROM_RULES and outcome.rules != rules
    return outcome.status == FAILED or by_other_rules


def _missing(source: FolderSource, day: str, home: Home) -> InputError:
    return InputError(
        f"there is no folder {place_of(source, day, home)}",
        where=f"source {source.name}",
        mend="Mend its path in sources.yaml, or import the folder again.",
    )


def _take(
    files: FolderFiles,
    name: str,
    found: Found,
    *,
    last: Outcome | None,
    other: Facts | None,
    store: Store,
    settings: CrawlSettings,
    rules: str,
    removed: Tombstones,
) -> Outcome | None:
    """What came of a file; None where its bytes are known and the last outcome holds."""
    known = None
    if last is not None:
        if last.reason not in REASONS_FROM_RULES or last.rules == rules:
            known = last.fetched_sha256
    elif other is not None:
        known = other[2]
    if known is not None and files.known_sha256(name) == known:
        return None
    try:
        content = files.read(name, settings.max_bytes)
        if len(content) > settings.max_bytes:
            raise FileNotTaken(REFUSED, "too_many_bytes")
    except FileNotTaken as refusal:
        if last is None and other == (refusal.status, refusal.reason, None):
            return None
        return Outcome(found, refusal.status, rules, reason=refusal.reason)
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 == known:
        files.remember(name, sha256)
        return None
    outcome, picture = judge_picture(content, found=found, settings=settings, rules=rules, removed=removed)
    if picture is not None:
        store.pictures.put(picture)
    if outcome.reason != REMOVED:
        files.remember(name, sha256)
    return outcome
