"""The log of promotions: which scorer was made champion, when, by whom and why. Nothing in it is ever
changed.

Layout, under the storage's root:

    promotions/<number, six digits>-<sha256>.json

An entry is named by its number and the hash of its bytes, and names the hash of the entry before it, so that
none can be altered, exchanged or taken out from the middle unseen. That the last ones are there, the alias in
the registry tells.
"""

import fcntl
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from selfai_pipeline.errors import AlteredVersion, InputError
from selfai_pipeline.home import Home
from selfai_pipeline.store import Store

FOLDER = "promotions"
NAME = re.compile(r"(\d{6})-([0-9a-f]{64})\.json")
MEND = "Put it back from a copy; until then no champion is made or taken back."


class Kind(StrEnum):
    """What an entry says: a version was made champion, or the champion before it was taken back."""

    PROMOTION = "promotion"
    ROLLBACK = "rollback"


class Way(StrEnum):
    """Who moved the alias: the check in the graph, or a person."""

    CHECK = "check"
    HAND = "hand"


@dataclass(frozen=True)
class Champion:
    """A registered version that is or was the champion."""

    version: int
    checkpoint_sha256: str


@dataclass(frozen=True)
class Promotion:
    """An entry of the log.

    `champion` has the alias from here on, `before` had it until then. `at` is a moment in UTC, ISO 8601.
    `overridden` are the findings against it that a person overrode. `evidence` are the figures of the
    comparison, and `previous` is the hash of the entry before.
    """

    number: int
    kind: Kind
    way: Way
    model: str
    champion: Champion
    before: Champion | None
    by: str
    at: str
    reason: str
    overridden: tuple[str, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)
    dagster_run: str = ""
    previous: str = ""

    def to_json(self) -> bytes:
        return json.dumps(
            asdict(self), sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False
        ).encode()

    @classmethod
    def from_json(cls, content: bytes) -> "Promotion":
        """Raises ValueError, KeyError or TypeError where the bytes are no entry."""
        values = json.loads(content)
        before = values.pop("before")
        return cls(
            kind=Kind(values.pop("kind")),
            way=Way(values.pop("way")),
            champion=Champion(**values.pop("champion")),
            before=Champion(**before) if before else None,
            overridden=tuple(values.pop("overridden")),
            **values,
        )

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.to_json()).hexdigest()

    @property
    def path(self) -> str:
        return f"{FOLDER}/{self.number:06d}-{self.sha256}.json"


@dataclass(frozen=True)
class PromotionLog:
    """Every entry, the oldest first; `last_sha256` is the hash of the newest, empty where there is none."""

    entries: tuple[Promotion, ...] = ()
    last_sha256: str = ""

    @property
    def last(self) -> Promotion | None:
        return self.entries[-1] if self.entries else None

    @property
    def champion(self) -> Champion | None:
        """Who is the champion by the log."""
        return self.last.champion if self.last else None

    @property
    def line(self) -> list[Champion]:
        """The champions that rollbacks lead back through, the present one last."""
        line: list[Champion] = []
        for entry in self.entries:
            if entry.kind is Kind.ROLLBACK:
                line = line[:-1] if line[-2:-1] == [entry.champion] else [entry.champion]
                continue
            for one in (entry.before, entry.champion):
                if one and line[-1:] != [one]:
                    line.append(one)
        return line

    def opponent_of(self, checkpoint_sha256: str) -> Champion | None:
        """Whom a scorer has to be better than: the champion, or the last one before it that is not itself.

        So the answer stays when the scorer is promoted, and when that is taken back.
        """
        seen = [one for entry in self.entries for one in (entry.before, entry.champion) if one]
        others = [one for one in seen if one.checkpoint_sha256 != checkpoint_sha256]
        return others[-1] if others else None

    def taken_back(self, checkpoint_sha256: str) -> Promotion | None:
        """The rollback that took a scorer back, unless it was promoted again since."""
        found = None
        for entry in self.entries:
            if entry.kind is Kind.ROLLBACK and entry.before:
                found = entry if entry.before.checkpoint_sha256 == checkpoint_sha256 else found
            if entry.champion.checkpoint_sha256 == checkpoint_sha256:
                found = None
        return found


def read_promotions(store: Store) -> PromotionLog:
    """The log, every entry held against its name and the one before.

    Raises:
        AlteredVersion: an entry was altered, or one is missing.
    """
    entries: list[Promotion] = []
    before = ""
    for name in store.files.list(FOLDER):
        if name.endswith(".part"):
            continue
        path = f"{FOLDER}/{name}"
        where = store.files.path(path)
        match = NAME.fullmatch(name)
        if match is None:
            raise AlteredVersion(f"{where}: this is no entry of the log of promotions. Move it away.")
        content = store.files.read_verified(path, match[2], mend=MEND)
        try:
            entry = Promotion.from_json(content)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise AlteredVersion(f"{where}: this is no entry of the log of promotions. {MEND}") from error
        if entry.number != int(match[1]) or entry.number != len(entries) + 1 or entry.previous != before:
            raise AlteredVersion(f"{where}: it does not follow on the entry before it. {MEND}")
        entries.append(entry)
        before = match[2]
    return PromotionLog(tuple(entries), before)


def append_promotion(entry: Promotion, *, store: Store) -> None:
    """Write an entry behind the last one; the caller holds `promotion_lock`.

    Raises:
        StorageError: it cannot be written.
    """
    store.files.write(entry.path, entry.to_json())


@contextmanager
def promotion_lock(home: Home) -> Iterator[None]:
    """Held by whoever moves the champion: one process on this machine at a time.

    Raises:
        InputError: another process holds it.
    """
    home.root.mkdir(parents=True, exist_ok=True)
    with (home.root / "promotions.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                "another process is moving the champion at this moment",
                where=str(home.root),
                mend="Wait until it has ended, then try again.",
            ) from error
        yield
