"""What was removed and must not come back: read by every way in.

A removal leaves one record, `removals/records/<removal>.json` in the storage. It names nothing: of ids,
addresses, hosts and annotators it has keyed hashes, of pictures the perceptual hash, which cannot be keyed
because it is compared by distance. The key is a file of the home (`Home.removal_key`).
"""

import hashlib
import hmac
import json
import logging
import re
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Set
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from selfai_pipeline.errors import AlteredVersion, InputError, StorageError
from selfai_pipeline.home import Home
from selfai_pipeline.keys import load_key
from selfai_pipeline.sources.addresses import host_of
from selfai_pipeline.sources.spellings import as_compared, inside_folder, path_ends
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE

if TYPE_CHECKING:
    from selfai_pipeline.pictures.looks import Hashes

logger = logging.getLogger("selfai.sources")

REMOVED = "removed"
"""The reason of a picture or an address that is refused because it was removed."""

INSTEAD = "[removed]"
"""What stands in a text in the place of what was removed."""

BEGIN = re.compile(r"(?:https?|file)://")
ADDRESS_IN_TEXT = re.compile(r"[^\s\"<>\\|`]{1,16384}")
ENDS = re.compile(r"[,;)\]}']|[.?:!](?![\w/])|\Z")
"""Where an address in a text may end: the text may go on with another one, or with its sentence."""

RECORDS = "removals/records"
LABELS = "balanced_label_table"
REMOVAL = re.compile(r"[0-9a-f]{12}")
PICTURE, ADDRESS, HOST, ANNOTATOR, NAME = "picture", "address", "host", "annotator", "name"
"""Kinds of what a keyed hash is of."""


def keyed(kind: str, value: str, key: bytes) -> str:
    """HMAC-SHA-256 of a name, so that only who has the key can tell whether it is there."""
    return hmac.new(key, f"{kind}\0{value}".encode(errors="replace"), hashlib.sha256).hexdigest()


def addresses_in_text(text: str) -> Iterator[str]:
    """What may be an address in a text: each that begins there, as far as it may go."""
    for begin in BEGIN.finditer(text):
        if found := ADDRESS_IN_TEXT.match(text, begin.start()):
            yield from (found[0][: end.start()] for end in ENDS.finditer(found[0]))


@dataclass(frozen=True)
class Tombstone:
    """What stays of a removal.

    Args:
        removal: its name, 12 random hexadecimals.
        removed_at: when it began, ISO 8601 in UTC.
        reason: as it was given.
        asked: what was asked for: picture, url, host, person or annotator.
        names: keyed hashes.
        looks: perceptual hashes (256 bits, hexadecimal) of the pictures that could be decoded.
        counts: how many pictures, addresses ... it was.
        checkpoints: of each checkpoint that learnt from it `asset`, `sha256`, and `pictures` by split.
        labels: of each label table that stays with scores made with ratings that are gone `sha256` and
            `pictures` by split; without those where these are only measured on.
        versions: of each rewritten table version `asset`, `partition`, `before` and `after` (SHA-256).
        ratings: fingerprint of all files of ratings before -> after.
        finished: whether all of it was done.
    """

    removal: str
    removed_at: str
    reason: str
    asked: str
    names: tuple[str, ...]
    looks: tuple[str, ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    checkpoints: tuple[Mapping[str, Any], ...] = ()
    labels: tuple[Mapping[str, Any], ...] = ()
    versions: tuple[Mapping[str, str], ...] = ()
    ratings: Mapping[str, str] = field(default_factory=dict)
    finished: bool = False
    key_check: str = ""

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), sort_keys=True, indent=1).encode()

    @classmethod
    def from_json(cls, content: bytes) -> "Tombstone":
        values = {"labels": (), **json.loads(content)}
        lists = ("names", "looks", "checkpoints", "labels", "versions")
        return cls(**{**values, **{name: tuple(values[name]) for name in lists}})

    @property
    def path(self) -> str:
        return f"{RECORDS}/{self.removal}.json"


def read_tombstones(store: Store) -> list[Tombstone]:
    """The records of all removals, oldest first.

    Raises:
        AlteredVersion: one of them is damaged.
    """
    found = []
    for name in store.files.list(RECORDS):
        path = f"{RECORDS}/{name}"
        if not name.endswith(".json"):
            continue
        try:
            found.append(Tombstone.from_json(store.files.read(path)))
        except (ValueError, KeyError, TypeError) as error:
            raise AlteredVersion(
                f"{store.files.path(path)}: this is no record of a removal. Put it back from a copy: without "
                "it what was removed could come back."
            ) from error
    return sorted(found, key=lambda one: (one.removed_at, one.removal))


@dataclass(frozen=True)
class Mark:
    """A removal that took out what a checkpoint, or one that it was made from, had learnt from.

    Args:
        removal: the name of the removal.
        removed_at: ISO 8601, UTC.
        reason: as it was given.
        asset: of the checkpoint that learnt from it; `LABELS` where it was trained on labels that were made
            with ratings that are gone.
        sha256: of that checkpoint or label table.
        pictures: how many pictures by split: `train` (learnt from), `validation` (chosen by), `test`; none
            where the label table was lost already, and nothing told what it had learnt from.
    """

    removal: str
    removed_at: str
    reason: str
    asset: str
    sha256: str
    pictures: Mapping[str, int]

    def __str__(self) -> str:
        if not self.pictures:
            return (
                f"the label table that {self.asset} {self.sha256[:12]} was trained on is lost: nothing tells "
                f"whether it learnt from what removal {self.removal} took out on {self.removed_at[:10]}"
            )
        counts = ", ".join(f"{count} of {split}" for split, count in sorted(self.pictures.items()) if count)
        if self.asset == LABELS:
            return (
                f"it was trained on the label table {self.sha256[:12]}, made with ratings that removal "
                f"{self.removal} took out on {self.removed_at[:10]} (of pictures: {counts})"
            )
        return (
            f"{self.asset} {self.sha256[:12]} learnt from pictures that removal {self.removal} took out on "
            f"{self.removed_at[:10]} ({counts})"
        )


def marks_on(
    checkpoints: Collection[str], labels: Set[str], *, stones: Iterable[Tombstone], store: Store
) -> list[Mark]:
    """The removals of what a chain of checkpoints learnt from, or may have.

    A removal knows the checkpoints that there were. What is trained later, on labels that stay, is known by
    these labels.

    Args:
        checkpoints: hashes of their records.
        labels: hashes of the label tables that they were trained on.

    Raises:
        AlteredVersion: the file that says what removals have left of label tables is damaged.
    """
    redactions = store.tables.redactions(LABELS, WHOLE)
    found = []
    for stone in stones:
        touched = [one for one in stone.checkpoints if one["sha256"] in checkpoints] or [
            {"asset": LABELS, **one}
            for one in stone.labels
            if not labels.isdisjoint(_with_what_is_left(one["sha256"], redactions))
        ]
        found += [
            Mark(stone.removal, stone.removed_at, stone.reason, one["asset"], one["sha256"], one["pictures"])
            for one in touched
        ]
    return found


def _with_what_is_left(sha256: str, redactions: Mapping[str, str]) -> Iterator[str]:
    """A version, and what each later removal has left of it."""
    yield sha256
    while sha256 in redactions:
        sha256 = redactions[sha256]
        yield sha256


def removal_key(home: Home) -> bytes:
    """The key of the keyed hashes; made where nothing was ever removed.

    Raises:
        StorageError: it cannot be read or is damaged.
    """
    return load_key(
        home.removal_key, mend="Put it back from a copy: nothing else tells what must not come back."
    )


@dataclass(frozen=True)
class Tombstones:
    """All of them, to be asked; without any it costs nothing to ask."""

    stones: tuple[Tombstone, ...] = ()
    key: bytes = b""

    def __bool__(self) -> bool:
        return bool(self.stones)

    @classmethod
    def of(cls, store: Store) -> "Tombstones":
        """Those of a store.

        Raises:
            AlteredVersion: a record is damaged.
            StorageError: the key is not there, or is another one: what was removed could come back.
        """
        stones = tuple(read_tombstones(store))
        if not stones:
            return cls()
        path = store.home.removal_key
        if not path.exists():
            raise StorageError(
                f"{path}: the key of the removals' records is not there. Put it back from a copy: without it "
                "nothing tells what must not come back."
            )
        key = removal_key(store.home)
        if any(stone.key_check not in ("", keyed("key", "check", key)) for stone in stones):
            raise StorageError(
                f"{path}: this is not the key that the removals' records were made with. Put the right one "
                "back from a copy."
            )
        return cls(stones, key)

    @cached_property
    def _by_name(self) -> dict[str, Tombstone]:
        return {name: stone for stone in self.stones for name in stone.names}

    @cached_property
    def _looks(self) -> "Hashes":
        import numpy as np

        hashes = [bytes.fromhex(one) for stone in self.stones for one in stone.looks]
        return np.frombuffer(b"".join(hashes), np.uint8).reshape(len(hashes), -1)

    def find(self, kind: str, value: str | None) -> Tombstone | None:
        """The removal that took out what is called so; None where none did."""
        if not self.stones or not value:
            return None
        return self._by_name.get(keyed(kind, value, self.key))

    def refuses_address(self, url: str | None) -> bool:
        """Whether an address, or everything of its host, was removed."""
        if not self.stones or not url:
            return False
        return bool(self.find(ADDRESS, url) or self.find(HOST, host_of(url)))

    def scrubbed(self, text: str) -> str:
        """A text with `INSTEAD` for each address that was removed, or whose host was."""
        if not self.stones or "://" not in text:
            return text
        kept, done = [], 0
        for begin in BEGIN.finditer(text):
            found = ADDRESS_IN_TEXT.match(text, begin.start()) if begin.start() >= done else None
            length = self._length_of_address(found[0]) if found else 0
            if length:
                kept += [text[done : begin.start()], INSTEAD]
                done = begin.start() + length
        return "".join([*kept, text[done:]])

    def _length_of_address(self, run: str) -> int:
        """The length of a removed address that some text begins with, the longest; 0 where it is none."""
        ends = [one.start() for one in ENDS.finditer(run)]
        for end in reversed(ends):
            if self.find(ADDRESS, run[:end]):
                return end
        return ends[0] if self.find(HOST, host_of(run[: ends[0]])) else 0

    def refuses_name(self, source: str, name: str, *, stored: Container[str]) -> bool:
        """Whether a name in a file of ratings may have meant a removed picture of the source.

        So it is where `PictureNames` would find one for it, were they still there, and where it is a removed
        address. That it means one stored picture now does not help: nothing tells which of them was rated.

        Args:
            stored: addresses of the stored pictures of the source, as the tables have them. One of these, or
                the path inside the folder, means that picture and no other.
        """
        if not self.stones:
            return False
        asked = as_compared(name)
        if asked in stored or inside_folder(asked) in stored:
            return False
        if self.refuses_address(asked) or self.find(NAME, f"{source}/{asked}"):
            return True
        for address in map(inside_folder, path_ends(asked)):
            if address in stored:
                return False
            if self.find(NAME, f"{source}/{address}"):
                return True
        return False

    def refuses_annotator(self, source: str, annotator: str) -> bool:
        return self.find(ANNOTATOR, f"{source}/{annotator}") is not None

    def refuses_picture(self, content: bytes, *, hashes: Iterable[str], orientation: int) -> bool:
        """Whether a picture was removed: these bytes, or others that look the same.

        Args:
            content: the picture without metadata.
            hashes: SHA-256 of the bytes as they came, and without metadata.
        """
        if not self.stones:
            return False
        if any(self.find(PICTURE, one) for one in hashes):
            return True
        return self.looks_like(content, orientation=orientation) is not None

    def looks_like(self, content: bytes, *, orientation: int) -> Tombstone | None:
        """The removal of a picture that looks the same, turned or mirrored too; None where there is none."""
        if not any(stone.looks for stone in self.stones):
            return None
        from selfai_pipeline.pictures.looks import alike, thumbnail_in, turned_hashes

        thumbnail = thumbnail_in(content, orientation=orientation)
        if thumbnail is None:
            return None
        found = alike(turned_hashes(thumbnail), self._looks)
        owners = [stone for stone in self.stones for _ in stone.looks]
        return next((stone for stone, one in zip(owners, found.tolist(), strict=True) if one), None)


def was_removed(stone: Tombstone, where: str) -> InputError:
    """What to say to somebody who asks about what was removed."""
    return InputError(
        f"it was removed on {stone.removed_at[:10]} ({stone.reason})",
        where=where,
        mend=f"All that is kept is the record of removal {stone.removal}.",
    )


def spellings(name: str) -> Iterator[str]:
    """The names that a file of ratings may mean a picture by: the whole, and each end of a path."""
    whole = as_compared(name)
    yield whole
    parts = whole.split("/")
    for first in range(1, len(parts)):
        yield "/".join(parts[first:])
