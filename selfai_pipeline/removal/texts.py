"""Finds what was removed in texts of any kind (logs, JSON, cells of databases), and takes it out."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote, unquote, urlsplit

from selfai_pipeline.removal.subjects import Subjects
from selfai_pipeline.sources.tombstones import INSTEAD

HEXADECIMALS = re.compile(r"[0-9a-f]{64,}")
ADDRESS_OF_HOST = re.compile(r"https?://[^\s\"'<>\\,;|`)\]}]+")
GOES_ON = re.compile(r"[\w/%~=@+$*#-]|[.?:!]\w|&(?!quot;|lt;|gt;)\w")
"""Behind an address that is only the beginning of another one. A backslash is none of it: in JSON it begins
the end of a line."""
END_OF_OWN = r"(?![\w-]|\.\w|:\d|@)"
"""Behind Selfai's own path or address, which is no beginning of another one."""

BEGIN_OF_WORD = r"(?:(?<![\w.-])|(?<=\\[nrt]))"
"""In JSON the letter before may be the end of a line."""

HASH_LENGTH = 64


@dataclass(frozen=True)
class Needles:
    """What is looked for: hashes, addresses (and whole paths of files), hosts, and annotators as source/name.

    Names of files inside a folder are left out: `1.jpg` may mean anything.

    Args:
        own: Selfai's own folders and addresses (see `own.py`): a host or an annotator stays in them, and goes
            behind them.
    """

    hashes: frozenset[str]
    urls: frozenset[str]
    hosts: frozenset[str]
    annotators: frozenset[str]
    own: frozenset[str] = frozenset()

    @classmethod
    def of(cls, subjects: Subjects, *, own: frozenset[str] = frozenset()) -> "Needles":
        # A log names a file of a folder by its path.
        paths = {unquote(urlsplit(url).path) for url in subjects.urls if url.startswith("file://")}
        addresses = subjects.urls | paths
        written = {json.dumps(one)[1:-1] for one in addresses} | addresses
        hashes = subjects.image_ids | subjects.fetched | subjects.crops
        return cls(hashes, frozenset(written), subjects.hosts, subjects.annotators, own)

    @cached_property
    def _own(self) -> re.Pattern[str] | None:
        """Selfai's own folders and addresses, as texts, addresses and JSON write them."""
        written = {form for one in self.own for form in (one, quote(one, safe="/:"))}
        for _ in range(2):
            written |= {json.dumps(one)[1:-1] for one in written}
        # The longest first: one may begin with another.
        forms = [
            (BEGIN_OF_WORD if one.startswith("/") else "") + re.escape(one)
            for one in sorted(written, key=lambda one: (-len(one), one))
        ]
        return re.compile(f"(?:{'|'.join(forms)}){END_OF_OWN}") if forms else None

    @cached_property
    def _words(self) -> re.Pattern[str] | None:
        """Hosts and annotators, as words of their own; the group `own` is none of them, and stays.

        A host without a dot may be any word (`training` is a group of the graph): its addresses go.
        """
        hosts = {host for host in self.hosts if "." in host}
        words = [re.escape(one) for one in sorted({*hosts, *self.annotators})]
        if not words:
            return None
        own = "" if self._own is None else f"(?P<own>(?-i:{self._own.pattern}))|"
        word = rf"{BEGIN_OF_WORD}(?P<word>{'|'.join(words)})(?![\w-]|\.\w)"
        return re.compile(own + word, re.IGNORECASE)

    def scrubbed(self, text: str) -> str:
        """The text with `INSTEAD` for each; the same text where there is none."""
        if self.hashes:
            text = HEXADECIMALS.sub(self._without_hashes, text)
        text = self._without_addresses(text)
        return text if self._words is None else self._words.sub(_without_word, text)

    def _without_hashes(self, found: re.Match[str]) -> str:
        run = found[0]
        for start in range(len(run) - HASH_LENGTH + 1):
            if run[start : start + HASH_LENGTH] in self.hashes:
                end = start + HASH_LENGTH
                rest = HEXADECIMALS.sub(self._without_hashes, run[end:])
                return f"{run[:start]}{INSTEAD}{rest}"
        return run

    @cached_property
    def _addresses(self) -> "Addresses":
        return Addresses(self.urls, frozenset({"http:", "https:"} if self.hosts else ()))

    @cached_property
    def _addresses_in_bytes(self) -> "Addresses":
        return Addresses(frozenset(url.encode().decode("latin-1") for url in self.urls))

    def _without_addresses(self, text: str) -> str:
        kept, done = [], 0
        for start in self._addresses.starts(text):
            end = self._end_of_address(text, start) if start >= done else None
            if end is not None:
                kept += [text[done:start], INSTEAD]
                done = end
        return "".join([*kept, text[done:]])

    def _end_of_address(self, text: str, start: int) -> int | None:
        """Where an address that goes ends, if one begins here; the longest, where one begins with another."""
        for end in self._addresses.ends(text, start):
            if not GOES_ON.match(text, end):
                return end
        found = ADDRESS_OF_HOST.match(text, start) if self.hosts else None
        if found is None or not self._is_of_host(found):
            return None
        return start + len(found[0].rstrip(".:!?"))

    def _is_of_host(self, address: re.Match[str]) -> bool:
        if _host(address[0]) not in self.hosts:
            return False
        return self._own is None or self._own.match(address.string, address.start()) is None

    def are_in(self, content: bytes) -> bool:
        """Whether any of it stands in bytes of any kind, in UTF-8."""
        text = content.decode("latin-1")
        for run in HEXADECIMALS.finditer(text):
            windows = range(run.start(), run.end() - HASH_LENGTH + 1)
            if any(text[start : start + HASH_LENGTH] in self.hashes for start in windows):
                return True
        addresses = self._addresses_in_bytes
        if any(True for start in addresses.starts(text) for _ in addresses.ends(text, start)):
            return True
        if self.hosts and any(map(self._is_of_host, ADDRESS_OF_HOST.finditer(text))):
            return True
        if self._words is None:
            return False
        return any(found["word"] for found in self._words.finditer(content.decode(errors="replace")))


@dataclass(frozen=True)
class Addresses:
    """Finds many addresses in one pass over a text, in which hardly any begins.

    Args:
        urls: the addresses.
        further: beginnings of others that are looked at as well.
    """

    urls: frozenset[str]
    further: frozenset[str] = frozenset()

    def starts(self, text: str) -> Iterator[int]:
        """Where an address may begin, whatever letter stands before: in JSON the `n` of an end of a line."""
        return (found.start() for found in self._begin.finditer(text)) if self._begin else iter(())

    def ends(self, text: str, start: int) -> Iterator[int]:
        """Where the addresses end that begin at a place, the longest first."""
        return (start + length for length in self._lengths if text[start : start + length] in self.urls)

    @cached_property
    def _begin(self) -> re.Pattern[str] | None:
        begin = self.further | {url[: url.find(":") + 1] if ":/" in url else url[:8] for url in self.urls}
        return re.compile("|".join(map(re.escape, sorted(begin)))) if begin else None

    @cached_property
    def _lengths(self) -> list[int]:
        return sorted({len(url) for url in self.urls}, reverse=True)


def _without_word(found: re.Match[str]) -> str:
    return INSTEAD if found["word"] else found[0]


def _host(address: str) -> str:
    try:
        return (urlsplit(address).hostname or "").lower()
    except ValueError:
        return ""
