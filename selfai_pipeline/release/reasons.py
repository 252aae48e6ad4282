"""The reason of a promotion: it stays for ever, and so names nothing that a removal may have to take out."""

import re
from collections.abc import Iterator
from itertools import chain

from selfai_pipeline.errors import AlteredVersion, InputError, MissingVersion
from selfai_pipeline.lineage.columns import read_columns
from selfai_pipeline.lineage.versions import Archive
from selfai_pipeline.picture_store import SHA256_HEX
from selfai_pipeline.removal.fetches import Fetches
from selfai_pipeline.removal.plan import BEGINNING_OF_ID
from selfai_pipeline.sources.addresses import bare_host, host_of
from selfai_pipeline.sources.tombstones import HOST, Tombstones
from selfai_pipeline.store import Store

LONGEST_REASON = 1000
HOST_NAME = re.compile(r"(?:[\w-]+\.)+[^\W\d_][\w-]*|(?:\d+\.){3}\d+")
"""A name with a dot in it, or four numbers: a host without a dot may be any word."""


def checked_reason(reason: str, *, store: Store) -> str:
    """The reason on one line.

    What is known is looked up only where a word has the form of an id or of a host.

    Raises:
        InputError: it is empty or too long, or names what a later removal could not reach: an address, a
            picture by its id or the first characters of one, or a host that was ever crawled.
        AlteredVersion, StorageError: the journal of fetches or the records of removals cannot be read.
    """
    text = " ".join(reason.split())
    problem = ""
    if not re.search(r"\w", text):
        problem = "no reason is given"
    elif len(text) > LONGEST_REASON:
        problem = f"it has {len(text)} characters, {LONGEST_REASON} are the most"
    elif "://" in text or _names_picture(text.lower(), store) or _names_host(text.lower(), store):
        problem = "it names a picture, an address or a host, and the log keeps it for ever"
    if problem:
        raise InputError(problem, where="--reason", mend="Say in a sentence why the champion changes.")
    return text


def _names_picture(text: str, store: Store) -> bool:
    words = tuple(BEGINNING_OF_ID.findall(text))
    if not words or any(map(SHA256_HEX.fullmatch, words)):
        # A whole hash may be that of a picture that was removed, or of a crop.
        return bool(words)
    known = chain(_values("image_id", store), Fetches(store.home).pictures())
    return any(image_id.startswith(words) for image_id in known)


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
