"""What of the world outside a table was made from, as hashes: a change of one makes the table out of date."""

import hashlib
import json
import os
import re
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home
from selfai_pipeline.sources.settings import FolderSource, Source, UrlListSource
from selfai_pipeline.sources.source_kinds import is_in_object_store, today

COPY = re.compile(r"^(imports/[^/]+/[a-z]+)-[0-9a-f]{12}(\.[a-z.]+)$")
"""Path of a file that `selfai import` made, with the beginning of its hash."""

SETTLED_NS = 2_000_000_000
"""Age of a change from which on a further one has another moment, whatever the file system's clock."""


def crawl_fingerprints(day: str, *, sources: Sequence[Source], home: Home) -> dict[str, str]:
    """What the crawl of one day depends on: the sources that give it pictures, their files and lists.

    Ratings and columns about pictures are left out: the crawl does not read them. A live source counts on the
    days on which it was crawled, and today. What cannot be reached now has a fingerprint of its own.

    Raises:
        InputError, StorageError: the journal, which tells those days of a live source, cannot be read.
    """
    giving = [source for source in sources if _gives(source, day, home)]
    fingerprints = {"sources": hash_of(list(crawl_declarations(giving).values()))}
    folders = {
        source.name: _listing(source, day, home)
        for source in giving
        if isinstance(source, FolderSource) and not (source.is_live and day != today())
    }
    if folders:
        fingerprints["folders"] = hash_of(folders)
    if lists := list_states(giving, home):
        fingerprints["lists"] = hash_of(lists)
    return fingerprints


def rating_declarations_fingerprint(sources: Sequence[Source]) -> str:
    """How the files of ratings and of columns about pictures are to be read; their order does not matter."""
    return hash_of(rating_declarations(sources))


def crawl_declarations(sources: Sequence[Source]) -> dict[str, Any]:
    """By name what sources declare of their pictures, sorted."""
    # Without what has its default: a key that a later version adds makes no table out of date.
    return {
        source.name: {
            **source.model_dump(mode="json", exclude={"ratings", "pictures"}, exclude_defaults=True),
            "kind": source.kind,
        }
        for source in sorted(sources, key=lambda one: one.name)
    }


def rating_declarations(sources: Sequence[Source]) -> dict[str, Any]:
    """By name what sources declare of files of ratings and of columns about pictures.

    Of a copy that `selfai import` made the hash in its name is left out: it says what is in the file, and
    changes where a removal takes rows out.
    """
    declared = {
        source.name: source.model_dump(mode="json", include={"ratings", "pictures"}) for source in sources
    }
    for one in declared.values():
        for file in [*one["ratings"], *([one["pictures"]] if one["pictures"] else [])]:
            file["path"] = COPY.sub(r"\1\2", file["path"])
    return declared


def list_states(sources: Sequence[Source], home: Home) -> dict[str, Any]:
    """By name what changes with the bytes of the lists that sources declare, and with nothing else.

    Of a list in an object store that is what the store says of its state.
    """
    return {
        source.name: _stored_list(source) if is_in_object_store(source.path) else _sha256(source.file(home))
        for source in sources
        if isinstance(source, UrlListSource)
    }


def earlier_list_states(sources: Sequence[Source], home: Home) -> dict[str, Any]:
    """`list_states` as records from before there was a hash have it: size and moment of the last change."""
    return {
        source.name: _stored_list(source) if is_in_object_store(source.path) else _state(source.file(home))
        for source in sources
        if isinstance(source, UrlListSource)
    }


def may_give(source: Source, day: str) -> bool:
    """Whether a source can have given pictures to a day, whatever the journal knows of it."""
    return not (isinstance(source, FolderSource) and source.day) or source.day == day


def _gives(source: Source, day: str, home: Home) -> bool:
    if not may_give(source, day):
        return False
    return not source.is_live or _was_crawled(source, day, home)


def _was_crawled(source: Source, day: str, home: Home) -> bool:
    """Whether a live source was crawled on this day, or can still be."""
    from selfai_pipeline.sources.journal import open_journal

    if day == today():
        return True
    with open_journal(home) as journal:
        return journal.knows(source.name, day)


def _stored_list(source: UrlListSource) -> Any:
    """What an object store says of the state of a list."""
    from selfai_pipeline.sources.stored_files import file_state

    try:
        return file_state(source.path)
    except InputError as error:
        return type(error).__name__


def _sha256(path: Path) -> str | None:
    """Hash of the bytes of a file; None where it cannot be read.

    A list may be large, and is asked for once for each day: one that nobody has written to since is not read
    again. The moment of the last change of its entry tells, which, unlike that of its bytes, nobody can set.
    """
    try:
        facts = path.stat()
        if time.time_ns() - facts.st_ctime_ns < SETTLED_NS:
            return sha256_of_file(path)
        return _known_digest(path, (facts.st_dev, facts.st_ino, facts.st_size, facts.st_ctime_ns))
    except OSError:
        return None


@lru_cache(maxsize=256)
def _known_digest(path: Path, state: tuple[int, ...]) -> str:
    """`sha256_of_file`, of a file that is in this state."""
    return sha256_of_file(path)


def sha256_of_file(path: Path) -> str:
    """The hash of the bytes of a file, of any size, hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _state(path: Path) -> tuple[int, int]:
    """(bytes, moment of the last change in ns) of a file or what a link leads to; -1 where there is none."""
    try:
        facts = path.stat()
    except OSError:
        return (-1, -1)
    return (facts.st_size, facts.st_mtime_ns)


def _listing(source: FolderSource, day: str, home: Home) -> Any:
    """Path and state of each file of a folder, as the reader sees it."""
    if not is_in_object_store(source.path):
        return _local_listing(source.folder(home, day))
    from selfai_pipeline.sources.stored_files import files_under, state_of

    try:
        return [(name, state_of(info)) for name, info in files_under(source.place(day)).items()]
    except InputError as error:
        return type(error).__name__


def _local_listing(folder: Path) -> list[tuple[str, int, int]]:
    """(path inside the folder, bytes, moment of the last change in ns) of each file; empty without a folder.

    Names that begin with a dot are passed over, as the reader does. Of a link the file behind it counts, and
    what cannot be looked at has -1 for both.
    """
    files = []
    for place, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if not name.startswith(".")]
        for path in [Path(place, name) for name in names if not name.startswith(".")]:
            files.append((path.relative_to(folder).as_posix(), *_state(path)))
    return sorted(files)


def hash_of(value: Any) -> str:
    """SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
