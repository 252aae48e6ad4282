"""Reasons of promotions and removals: they stay for ever, and so name nothing that a removal has to reach."""

import re
import unicodedata
from collections.abc import Iterator
from itertools import chain
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from selfai_pipeline.errors import AlteredVersion, InputError, MissingVersion
from selfai_pipeline.labels.picture_folder import PICTURE_SUFFIXES
from selfai_pipeline.lineage.columns import read_columns
from selfai_pipeline.lineage.versions import SHORTEST_PREFIX, Archive
from selfai_pipeline.picture_store import SHA256_HEX
from selfai_pipeline.removal.fetches import Fetches
from selfai_pipeline.removal.subjects import Subjects
from selfai_pipeline.sources.addresses import bare_host, host_of
from selfai_pipeline.sources.tombstones import HOST, INSTEAD, Tombstones
from selfai_pipeline.store import Store

LONGEST_REASON = 1000
HOST_NAME = re.compile(r"(?:[\w-]+\.)+[^\W\d_][\w-]*|(?:\d+\.){3}\d+")
"""A name with a dot in it, or four numbers: a host without a dot may be any word."""

BEGINNING_OF_ID = re.compile(rf"(?<![^\W_])[0-9a-f]{{{SHORTEST_PREFIX},64}}(?![^\W_])")
"""A word that the id of a picture may begin with, of as many characters as name one."""

SHORTEST_TELLING = 4
"""Letters from which a name in a reason counts as telling: `ann` stands in `announced`."""

LONGEST_NUMBER = 6
"""Digits of a number that may be that of a letter, or a year."""

COMMON_WORD = re.compile(
    "letter|mail|email|form|ticket|case|date|number|page|site|file|name|photo|picture|image|portrait|face|"
    "person|owner|author|parent|lawyer|court|claim|request|wish|asked|removal|removed|deleted|consent"
)
"""Words that reasons are made of: a file called so is not named by them."""

MEND = "Say why in words that name nobody; the number of a letter will do."


def checked_reason(reason: str, *, store: Store, mend: str = MEND) -> str:
    """The reason on one line.

    What is known is looked up only where a word has the form of an id, of a file or of a host.

    Args:
        mend: what to do where it is refused.

    Raises:
        InputError: it is empty or too long, or names what a later removal could not reach: an address, a
            picture by its id, the first characters of one or its file, or a host that was ever crawled.
        AlteredVersion, StorageError: the journal of fetches or the records of removals cannot be read.
    """
    text = " ".join(reason.split())
    problem = ""
    if not re.search(r"\w", text):
        problem = "no reason is given"
    elif len(text) > LONGEST_REASON:
        problem = f"it has {len(text)} characters, {LONGEST_REASON} are the most"
    elif "://" in text or any(
        names(_folded(text), store) for names in (_names_picture, _names_file, _names_host)
    ):
        problem = "it names a picture, an address or a host, and it stays for ever"
    if problem:
        raise InputError(problem, where="--reason", mend=mend)
    return text


def refuse_telling(reason: str, value: str, subjects: Subjects) -> None:
    """See that a reason does not name what goes, where that is more than `checked_reason` can know.

    Args:
        value: the name that the removal was asked for by.

    Raises:
        InputError: it names any of it.
    """
    if any(_namings(reason, value, subjects)):
        raise InputError("it names what is to be removed, and it stays for ever", where="--reason", mend=MEND)


def without_names(reason: str, value: str, subjects: Subjects) -> str:
    """An earlier reason with `INSTEAD` for each name that `refuse_telling` would refuse today."""
    for pattern in sorted(_namings(reason, value, subjects), key=len, reverse=True):
        reason = re.sub(pattern, INSTEAD, unicodedata.normalize("NFC", reason), flags=re.IGNORECASE)
    return reason


def _namings(reason: str, value: str, subjects: Subjects) -> Iterator[str]:
    """Patterns of the names of what goes that stand in a reason."""
    words = _folded(reason)
    bare = {one.partition("/")[2] for one in subjects.annotators | subjects.persons}
    for one in map(_folded, {value, *bare, *subjects.urls, *subjects.hosts}):
        if len(one) >= SHORTEST_TELLING and one in words:
            yield re.escape(one)
    files = subjects.urls | subjects.paths | subjects.names
    if value.lower().endswith(tuple(PICTURE_SUFFIXES)):
        files |= {value}
    for address in files:
        for name in _file_names(address):
            for one in (name, _stem(name)):
                if _is_telling(one) and _stands_in(one, words):
                    yield _alone(one)
    for word in BEGINNING_OF_ID.findall(words):
        if any(one.startswith(word) for one in subjects.image_ids):
            yield rf"(?<![^\W_]){word}(?![^\W_])"


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).lower()


def _file_names(address: str) -> Iterator[str]:
    """What the file at an address, or at a path in a folder, is called, as it is written and decoded."""
    yield _folded(address.rpartition("/")[2].removeprefix("file:"))
    if "://" in address:
        try:
            yield _folded(unquote(urlsplit(address).path).rpartition("/")[2])
        except ValueError:
            return


def _stem(name: str) -> str:
    return PurePosixPath(name).stem


def _is_telling(name: str) -> bool:
    is_number = name.isdecimal() and len(name) <= LONGEST_NUMBER
    return len(name) >= SHORTEST_TELLING and not is_number and not COMMON_WORD.fullmatch(name)


def _stands_in(name: str, words: str) -> bool:
    """Whether a name stands alone in a text: it may be a word, and stand inside of another."""
    return name in words and re.search(_alone(name), words) is not None


def _alone(name: str) -> str:
    return rf"(?<!\w){re.escape(name)}(?!\w)"


def _names_picture(text: str, store: Store) -> bool:
    words = tuple(BEGINNING_OF_ID.findall(text))
    if not words or any(map(SHA256_HEX.fullmatch, words)):
        # A whole hash may be that of a picture that was removed, or of a crop.
        return bool(words)
    known = chain(_values("image_id", store), Fetches(store.home).pictures())
    return any(image_id.startswith(words) for image_id in known)


def _names_file(text: str, store: Store) -> bool:
    if not any(ending in text for ending in PICTURE_SUFFIXES):
        return False
    names = (name for url in _values("url", store) for name in _file_names(url))
    return any(_is_telling(name) and _stands_in(name, text) for name in names)


def _names_host(text: str, store: Store) -> bool:
    hosts = {host for word in HOST_NAME.findall(text) for host in (word, bare_host(word))}
    if not hosts:
        return False
    fetches, removed = Fetches(store.home), Tombstones.of(store)
    return any(fetches.knows_host(host) or removed.find(HOST, host) for host in hosts) or any(
        host_of(url) in hosts for url in _values("url", store)
    )


def _values(column: str, store: Store) -> Iterator[str]:
    """What the versions of crawled days and label tables have in a column, again and again."""
    archive = Archive(store)
    for key in archive.keys:
        if key.asset in ("raw_crawl", "balanced_label_table"):
            try:
                table = read_columns(archive.table_ref(key), [column], store=store)
            except (MissingVersion, AlteredVersion):
                # An audit names it.
                continue
            for values in table.columns:
                yield from (value for value in values.to_pylist() if value)
