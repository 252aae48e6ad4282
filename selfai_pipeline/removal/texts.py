"""Finds what was removed in texts of any kind (logs, JSON, cells of databases), and takes it out."""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlsplit

from selfai_pipeline.removal.subjects import Subjects

INSTEAD = "[removed]"
HEXADECIMALS = re.compile(r"[0-9a-f]{64,}")
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>]+")
AFTER_AN_ADDRESS = ".,:;!?)]}\\"
HASH_LENGTH = 64


@dataclass(frozen=True)
class Needles:
    """What is looked for: hashes, addresses, hosts, and annotators as source/name.

    Names of files inside a folder are left out: `1.jpg` may mean anything.
    """

    hashes: frozenset[str]
    urls: frozenset[str]
    hosts: frozenset[str]
    annotators: frozenset[str]

    @classmethod
    def of(cls, subjects: Subjects) -> "Needles":
        written = {json.dumps(url)[1:-1] for url in subjects.urls} | subjects.urls
        hashes = subjects.image_ids | subjects.fetched | subjects.crops
        return cls(hashes, frozenset(written), subjects.hosts, subjects.annotators)

    @cached_property
    def _words(self) -> re.Pattern[str] | None:
        """Hosts and annotators, as words of their own."""
        words = [re.escape(one) for one in sorted({*self.hosts, *self.annotators})]
        if not words:
            return None
        return re.compile(rf"(?<![\w.-])({'|'.join(words)})(?![\w-]|\.\w)", re.IGNORECASE)

    def scrubbed(self, text: str) -> str:
        """The text with `INSTEAD` for each; the same text where there is none."""
        if self.hashes:
            text = HEXADECIMALS.sub(self._without_hashes, text)
        if self.urls or self.hosts:
            text = ADDRESS.sub(self._without_address, text)
        return text if self._words is None else self._words.sub(INSTEAD, text)

    def _without_hashes(self, found: re.Match[str]) -> str:
        run = found[0]
        for start in range(len(run) - HASH_LENGTH + 1):
            if run[start : start + HASH_LENGTH] in self.hashes:
                end = start + HASH_LENGTH
                rest = HEXADECIMALS.sub(self._without_hashes, run[end:])
                return f"{run[:start]}{INSTEAD}{rest}"
        return run

    def _without_address(self, found: re.Match[str]) -> str:
        whole = found[0]
        address = whole
        while address:
            if address in self.urls or (self.hosts and _host(address) in self.hosts):
                return INSTEAD + whole[len(address) :]
            if address[-1] not in AFTER_AN_ADDRESS:
                break
            address = address[:-1]
        return whole

    def are_in(self, content: bytes) -> bool:
        """Whether any of it stands in bytes of any kind, in UTF-8."""
        text = content.decode("latin-1")
        for run in HEXADECIMALS.finditer(text):
            windows = range(run.start(), run.end() - HASH_LENGTH + 1)
            if any(text[start : start + HASH_LENGTH] in self.hashes for start in windows):
                return True
        if any(url.encode() in content for url in self.urls):
            return True
        return self._words is not None and self._words.search(content.decode(errors="replace")) is not None


def _host(address: str) -> str:
    try:
        return (urlsplit(address).hostname or "").lower()
    except ValueError:
        return ""
