"""Pictures from a folder on this machine."""

import datetime
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from selfai_pipeline.errors import InputError
from selfai_pipeline.sources.crawl_job import rules_fingerprint, take_picture
from selfai_pipeline.sources.journal import (
    FAILED,
    REASONS_FROM_RULES,
    REFUSED,
    Found,
    Journal,
    Outcome,
)
from selfai_pipeline.sources.settings import CrawlSettings, FolderSource
from selfai_pipeline.store import Store


def read_folder(source: FolderSource, *, store: Store, journal: Journal, settings: CrawlSettings) -> int:
    """Take the pictures of a folder and its subfolders into the store; returns how many were new or changed.

    A file whose bytes are known is not taken again. Names that begin with a dot are passed over. A moved or
    replaced folder counts as a new one; a folder that is gone keeps what was taken from it. A file that could
    not be read and is gone becomes a refusal, `gone`. A subfolder that cannot be listed has an outcome too.

    Raises:
        InputError: the folder cannot be listed, or there is none and nothing was ever taken from it.
    """
    folder = source.folder(store.home)
    try:
        os.scandir(folder).close()
    except (FileNotFoundError, NotADirectoryError):
        if any(is_from(outcome, source, store) for outcome in journal.outcomes(source.name, source.day)):
            return 0
        raise InputError(
            f"there is no folder {folder}",
            where=f"source {source.name}",
            mend="Mend its path in sources.yaml, or import the folder again.",
        ) from None
    except OSError as error:
        raise InputError(
            f"the folder {folder} cannot be read ({error.strerror})",
            where=f"source {source.name}",
            mend="Mend its permissions, then run again.",
        ) from error
    root = folder.resolve()
    rules = rules_fingerprint(source, settings)
    # Files have no moment of fetching: the start of their day keeps the table the same wherever it is made.
    moment = datetime.datetime.fromisoformat(source.day).replace(tzinfo=datetime.UTC)
    changed = 0
    here = set()
    for path in _files(root):
        found = Found(path.as_uri(), "file")
        here.add(found.url)
        last = journal.last(source.name, source.day, found.url)
        outcome = _take(path, root, found=found, last=last, store=store, settings=settings, rules=rules)
        if outcome is not None and (last is None or replace(outcome, fetched_at=last.fetched_at) != last):
            journal.record(source.name, source.day, replace(outcome, fetched_at=moment))
            changed += 1
    for outcome in journal.outcomes(source.name, source.day):
        # A failure is tried again for as long as it stands there; this file never comes right any more.
        if outcome.status == FAILED and outcome.found.url not in here and is_from(outcome, source, store):
            gone = Outcome(outcome.found, REFUSED, rules, reason="gone", fetched_at=moment)
            journal.record(source.name, source.day, gone)
            changed += 1
    return changed


def is_from(outcome: Outcome, source: FolderSource, store: Store) -> bool:
    """Whether a file was taken from the folder as it is declared now."""
    return outcome.found.url.startswith(f"{source.folder(store.home).resolve().as_uri()}/")


def _files(root: Path) -> Iterator[Path]:
    """Everything but folders, sorted.

    A folder is given itself and not entered where it stands behind a link or cannot be listed.
    """
    try:
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    except OSError:
        yield root
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
        else:
            yield Path(entry.path)


def _take(
    path: Path,
    root: Path,
    *,
    found: Found,
    last: Outcome | None,
    store: Store,
    settings: CrawlSettings,
    rules: str,
) -> Outcome | None:
    """What came of a file; None where its bytes are known and the last outcome holds."""
    try:
        target = path.resolve(strict=True)
        if not target.is_relative_to(root):
            return Outcome(found, REFUSED, rules, reason="outside_folder")
        if target == path and path.is_dir():
            # One that could be listed would have been entered.
            return Outcome(found, FAILED, rules, reason="unreadable")
        content = _read(target, settings.max_bytes)
    except (OSError, RuntimeError):
        return Outcome(found, FAILED, rules, reason="unreadable")
    if content is None:
        return Outcome(found, REFUSED, rules, reason="not_a_file")
    if len(content) > settings.max_bytes:
        return Outcome(found, REFUSED, rules, reason="too_many_bytes")
    holds = last is not None and (last.reason not in REASONS_FROM_RULES or last.rules == rules)
    if last is not None and holds and last.fetched_sha256 == hashlib.sha256(content).hexdigest():
        return None
    return take_picture(content, found=found, pictures=store.pictures, settings=settings, rules=rules)


def _read(path: Path, most: int) -> bytes | None:
    """Up to one byte more than `most`; None for a folder, a pipe, a device. A pipe must not block."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read(most + 1)
