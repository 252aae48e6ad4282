"""What of the world outside a table was made from, as hashes: a change of one makes the table out of date."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from selfai_pipeline.home import Home
from selfai_pipeline.sources.settings import FolderSource, PagesSource, Source


def crawl_fingerprints(day: str, *, sources: Sequence[Source], home: Home) -> dict[str, str]:
    """What the crawl of one day depends on: the sources that give it pictures, and the files of its folders.

    Ratings and columns about pictures are left out: the crawl does not read them. A live source counts on the
    days on which it was crawled, and today.

    Raises:
        StorageError: the journal, which tells those days of a live source, cannot be read.
    """
    giving = [source for source in sources if _gives(source, day, home)]
    declared = [source.model_dump(mode="json", exclude={"ratings", "pictures"}) for source in giving]
    fingerprints = {"sources": _hash_of(sorted(declared, key=lambda one: str(one["name"])))}
    folders = {
        source.name: _listing(source.folder(home)) for source in giving if isinstance(source, FolderSource)
    }
    if folders:
        fingerprints["folders"] = _hash_of(folders)
    return fingerprints


def rating_declarations_fingerprint(sources: Sequence[Source]) -> str:
    """How the files of ratings and of columns about pictures are to be read; their order does not matter."""
    declared = {
        source.name: source.model_dump(mode="json", include={"ratings", "pictures"}) for source in sources
    }
    return _hash_of(declared)


def _gives(source: Source, day: str, home: Home) -> bool:
    if isinstance(source, FolderSource):
        return source.day == day
    return not source.is_live or _was_crawled(source, day, home)


def _was_crawled(source: PagesSource, day: str, home: Home) -> bool:
    """Whether a live source was crawled on this day, or can still be."""
    import datetime

    from selfai_pipeline.sources.journal import Journal

    if day == datetime.datetime.now(datetime.UTC).date().isoformat():
        return True
    with Journal(home.journal_url) as journal:
        return journal.knows(source.name, day)


def _listing(folder: Path) -> list[tuple[str, int, int]]:
    """(path inside the folder, bytes, moment of the last change in ns) of each file; empty without a folder.

    Names that begin with a dot are passed over, as the reader does. Of a link the file behind it counts, and
    what cannot be looked at has -1 for both.
    """
    files = []
    for place, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if not name.startswith(".")]
        for path in [Path(place, name) for name in names if not name.startswith(".")]:
            try:
                facts = path.stat()
                state = (facts.st_size, facts.st_mtime_ns)
            except OSError:
                state = (-1, -1)
            files.append((path.relative_to(folder).as_posix(), *state))
    return sorted(files)


def _hash_of(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
