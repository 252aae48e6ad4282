"""What a removal is about: from what was asked for to every id, address, crop and name of it."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

from selfai_pipeline.errors import AlteredVersion, InputError
from selfai_pipeline.labels.site.ratings import ORIGIN, describing_sources
from selfai_pipeline.lineage.columns import read_file
from selfai_pipeline.lineage.derived import Selection, removal_of
from selfai_pipeline.lineage.picture_history import selected_pictures
from selfai_pipeline.lineage.versions import Archive, VersionKey
from selfai_pipeline.picture_store import SHA256_HEX
from selfai_pipeline.removal.declared import (
    PictureRow,
    addresses_in,
    annotators_called,
    persons_called,
    pictures_called,
)
from selfai_pipeline.removal.fetches import Fetches
from selfai_pipeline.sources.addresses import host_of
from selfai_pipeline.sources.tombstones import was_removed
from selfai_pipeline.tables import FACTS_KEY, TableRef

if TYPE_CHECKING:
    import pyarrow as pa

KINDS = ("picture", "url", "host", "person", "annotator")
WITH_PICTURES = ("raw_crawl", "pruned_set", "aligned_faces", "annotations", "balanced_label_table")
TEXTS = ("attributes", "licence", "reason")
"""Columns whose words may name an address or an annotator, of other pictures too: that of their page, say."""

TABLE_FILE = re.compile(r"[0-9a-f]{64}\.parquet")
HEARSAY = 12
"""Values that a message lists at most."""


@dataclass(frozen=True)
class Subjects:
    """Everything that has to go.

    Args:
        image_ids: pictures, with those that look the same.
        urls: whole addresses as the journal has them.
        paths: addresses inside a folder as the tables have them, source/file:name.
        fetched: SHA-256 of bytes as they came.
        crops: SHA-256 of aligned faces.
        hosts: of which every address goes.
        annotators: as the table of annotations has them, source/name.
        persons: as source/value of the column that names the person.
        names: by which files of ratings may call the pictures, as source/name.
        looks: perceptual hashes of the pictures, hexadecimal.
    """

    image_ids: frozenset[str] = frozenset()
    urls: frozenset[str] = frozenset()
    paths: frozenset[str] = frozenset()
    fetched: frozenset[str] = frozenset()
    crops: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    annotators: frozenset[str] = frozenset()
    persons: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    looks: frozenset[str] = frozenset()

    def __or__(self, other: "Subjects") -> "Subjects":
        return Subjects(
            **{one.name: getattr(self, one.name) | getattr(other, one.name) for one in fields(self)}
        )

    def to_values(self) -> dict[str, list[str]]:
        return {one.name: sorted(getattr(self, one.name)) for one in fields(self)}

    @classmethod
    def from_values(cls, values: Mapping[str, Iterable[str]]) -> "Subjects":
        return cls(**{name: frozenset(value) for name, value in values.items()})

    def has_address(self, url: str | None) -> bool:
        return url is not None and (url in self.urls or (bool(self.hosts) and host_of(url) in self.hosts))

    def has_row(self, source: str | None, url: str | None) -> bool:
        """Whether a row of a table is about an address that goes."""
        return self.has_address(url) or f"{source}/{url}" in self.paths


@dataclass(frozen=True)
class Known:
    """The rows of all versions that can be read, with the columns that tell about pictures."""

    archive: Archive

    def keys(self, *assets: str) -> Iterator[VersionKey]:
        """The files that lie there, of some assets: whatever any record says, and past removals did."""
        for asset, partition, sha256 in self._files:
            if asset in assets:
                yield VersionKey(asset, partition, sha256)

    @cached_property
    def _files(self) -> list[tuple[str, str, str]]:
        files = self.archive.store.files
        return [
            (asset, partition, name.removesuffix(".parquet"))
            for asset in files.list("tables")
            for partition in files.list(f"tables/{asset}")
            for name in files.list(f"tables/{asset}/{partition}")
            if TABLE_FILE.fullmatch(name)
        ]

    @property
    def assets(self) -> set[str]:
        return {asset for asset, _, _ in self._files}

    def columns(self, key: VersionKey, *names: str) -> dict[str, list[Any]]:
        """Columns by name; empty lists for those that an earlier schema lacks.

        Raises:
            AlteredVersion: the file cannot be read: it may hold what has to go.
        """
        table = self._read(key, names)
        # They are read again for each question: all versions together may take more than memory has.
        found = {name: table[name].to_pylist() for name in table.column_names}
        return {name: found.get(name, [None] * table.num_rows) for name in names}

    def texts(self, key: VersionKey) -> str:
        """What a version says in words, about any picture: its facts, and the columns of `TEXTS`.

        Raises:
            AlteredVersion: as `columns`.
        """
        table = self._read(key, TEXTS)
        facts = (table.schema.metadata or {}).get(FACTS_KEY, b"").decode()
        words = {word for column in table.columns for word in column.to_pylist() if word}
        return "\n".join([facts, *words])

    def _read(self, key: VersionKey, names: Iterable[str]) -> "pa.Table":
        try:
            return read_file(_ref(key), names, store=self.archive.store)
        except AlteredVersion as error:
            raise AlteredVersion(f"{error}. {MEND_ALTERED}") from error

    def rows(self, key: VersionKey, *names: str) -> Iterator[tuple[Any, ...]]:
        yield from zip(*self.columns(key, *names).values(), strict=True)

    def pictures(self) -> Iterator[PictureRow]:
        """Every row of the crawled days."""
        for key in self.keys("raw_crawl"):
            yield from self.rows(key, "image_id", "url", "source", "attributes")

    def named(self, column: str) -> set[str]:
        """The values of a column over all versions that have it: every picture, say, or every crop."""
        return {name for key in self.keys(*self.assets) for (name,) in self.rows(key, column) if name}


def _ref(key: VersionKey) -> TableRef:
    return TableRef(key.asset, key.partition, key.sha256, rows=0)


MEND_ALTERED = (
    "Nothing was removed: what was altered is not written anew under a hash that would call it sound. Put "
    "the file back from a copy, then run again. Where there is none, delete it: of a label table, all models "
    "that stand on it are then marked, since nothing tells any more what they learnt from."
)


def subjects_of(
    kind: str,
    value: str,
    *,
    known: Known,
    fetches: Fetches,
    person_column: str,
    site_people: frozenset[str],
    site_pictures: frozenset[str],
) -> Subjects:
    """What was asked for, with all that belongs to it.

    Args:
        kind: one of `KINDS`.
        site_people: names of the people of the annotation site.
        site_pictures: ids of its pictures, of which a past removal may have left one behind.

    Raises:
        InputError: nothing is known of it; it is not clear what is meant; or it was removed before.
        AlteredVersion: a table cannot be read.
    """
    if not value.strip():
        raise InputError("it is empty", where=f"--{kind}", mend="Name what shall be removed.")
    chosen = {
        "picture": lambda: _pictures(value, known, fetches, site_pictures),
        "url": lambda: _address(value, known, fetches),
        "host": lambda: _host(value, known, fetches),
        "person": lambda: _person(value, known, person_column),
        "annotator": lambda: _annotator(value, known, site_people),
    }[kind]()
    if kind == "annotator":
        return chosen
    before: frozenset[str] | None = None
    while chosen.image_ids != before:
        # A copy's copies go, too: pruning, and looks, may have tied a crop to the mirror image alone.
        before = chosen.image_ids
        chosen = _with_copies(chosen, known, fetches)
    return _completed(chosen, known, fetches)


def _unknown(kind: str, value: str, known: Known, mend: str) -> InputError:
    """That nothing is known of it, or when it was removed."""
    stone = removal_of(Selection(kind, value), known.archive)
    if stone is not None:
        return was_removed(stone, f"{kind} {value}")
    return InputError("nothing that is kept knows it", where=f"{kind} {value}", mend=mend)


def _pictures(value: str, known: Known, fetches: Fetches, site: frozenset[str]) -> Subjects:
    """By a file, the first characters of an id, or an address."""
    selection, _ = selected_pictures(value, archive=known.archive)
    if selection.kind == "url":
        return _address(value, known, fetches)
    store = known.archive.store
    for image_id in selection.image_ids:
        is_known = image_id in store.pictures or image_id in site or fetches.knows_picture(image_id)
        tables = ("raw_crawl", "pruned_set", "aligned_faces", "annotations", "balanced_label_table")
        if not is_known and not any(
            image_id in known.columns(key, "image_id")["image_id"] for key in known.keys(*tables)
        ):
            raise _unknown(
                "picture", image_id, known, "Name the address, a file, or 6 first characters of an image_id."
            )
    return Subjects(image_ids=selection.image_ids)


def _address(value: str, known: Known, fetches: Fetches) -> Subjects:
    sources: dict[str, set[str]] = {}
    for key in known.keys("raw_crawl"):
        for image_id, url, source in known.rows(key, "image_id", "url", "source"):
            if url == value:
                sources.setdefault(source, set()).update([image_id] if image_id else [])
    if is_inside_folder(value):
        # The path inside a folder: each source has a folder of its own.
        if len(sources) > 1:
            raise InputError(
                f"{len(sources)} sources have a picture of this name: {', '.join(sorted(sources))}",
                where=value,
                mend="Name the picture by its image_id; `selfai audit --picture` shows it.",
            )
        if not sources:
            raise _unknown("url", value, known, "`selfai audit --picture` shows addresses as they are kept.")
        ((source, image_ids),) = sources.items()
        if not image_ids:
            paths = fetches.ending(source, value.removeprefix("file:"))
            return Subjects(urls=frozenset(paths), paths=frozenset([f"{source}/{value}"]))
        return Subjects(image_ids=frozenset(image_ids))
    home = known.archive.store.home
    if not sources and not fetches.knows_address(value) and value not in addresses_in(home):
        raise _unknown(
            "url",
            value,
            known,
            "Write it whole, letter by letter as it is kept; `selfai audit --picture` shows it.",
        )
    ids = {image_id for found in sources.values() for image_id in found}
    ids |= fetches.pictures_at(lambda url: url == value)
    return Subjects(image_ids=frozenset(ids), urls=frozenset([value]))


def _host(value: str, known: Known, fetches: Fetches) -> Subjects:
    host = value.lower().strip()
    ids, is_known = fetches.pictures_at(lambda url: host_of(url) == host), fetches.knows_host(host)
    for key in known.keys("raw_crawl"):
        for image_id, url in known.rows(key, "image_id", "url"):
            if host_of(url) == host:
                is_known = True
                ids.update([image_id] if image_id else [])
    if not is_known and host not in map(host_of, addresses_in(known.archive.store.home)):
        raise _unknown(
            "host",
            host,
            known,
            "Write it as it stands in addresses, without https://, without a port and without a path.",
        )
    return Subjects(image_ids=frozenset(ids), hosts=frozenset([host]))


def _person(value: str, known: Known, column: str) -> Subjects:
    if not column:
        raise InputError(
            "no column names persons",
            where="person_column of balanced_label_table",
            mend="Set it in settings.yaml to the column of your files that does.",
        )
    found: dict[str, Subjects] = {}
    for key in known.keys("raw_crawl", "annotations", "balanced_label_table"):
        origin = {"annotations": "origin"}.get(key.asset, "source")
        for image_id, url, where, text in known.rows(key, "image_id", "url", origin, "attributes"):
            if text and column in text and (person := json.loads(text).get(column)) is not None:
                for source in describing_sources(where):
                    if value in (str(person), f"{source}/{person}"):
                        before = found.get(f"{source}/{person}", Subjects())
                        found[f"{source}/{person}"] = before | _row(source, image_id, url)
    for person, (named_in, names) in persons_called(value, column, known.archive.store.home).items():
        told = pictures_called(names, named_in, known.pictures(), known.archive.store.home)
        found[person] = found.get(person, Subjects()) | Subjects.from_values(vars(told))
    if not found:
        raise _unknown("person", value, known, f"Persons are the values of the column {column!r}.")
    if len(found) > 1:
        raise InputError(
            f"{len(found)} sources name somebody so: {', '.join(sorted(found)[:HEARSAY])}",
            where=f"person {value}",
            mend="Name one of these; the same name in two sources may be two people.",
        )
    ((person, chosen),) = found.items()
    return chosen | Subjects(persons=frozenset([person]))


def _row(source: str, image_id: str | None, url: str | None) -> Subjects:
    """What a row about a person tells: a list may name them beside an address that was refused."""
    ids = frozenset([image_id] if image_id else [])
    if url and is_inside_folder(url):
        return Subjects(image_ids=ids, paths=frozenset([f"{source}/{url}"]))
    return Subjects(image_ids=ids, urls=frozenset([url] if url else []))


def _annotator(value: str, known: Known, site_people: frozenset[str]) -> Subjects:
    found = {f"{ORIGIN}/{name}" for name in site_people if value in (name, f"{ORIGIN}/{name}")}
    for key in known.keys("annotations"):
        for name in set(known.columns(key, "annotator")["annotator"]) - {None}:
            if value in (name, name.partition("/")[2]):
                found.add(name)
    found |= annotators_called(value, known.archive.store.home)
    if not found:
        raise _unknown(
            "annotator",
            value,
            known,
            'Annotators are named as source/name; `selfai sql "select distinct annotator from annotations"` '
            "lists them.",
        )
    if len(found) > 1:
        raise InputError(
            f"{len(found)} sources have an annotator of this name: {', '.join(sorted(found)[:HEARSAY])}",
            where=f"annotator {value}",
            mend="Name one of these; the same name in two sources may be two people.",
        )
    return Subjects(annotators=frozenset(found))


def _with_copies(chosen: Subjects, known: Known, fetches: Fetches) -> Subjects:
    """With the pictures that look the same: those that a later crawl would refuse, and those that pruning has
    found to be near-duplicates, cropped and captioned ones too."""
    import numpy as np

    from selfai_pipeline.pictures.looks import alike, thumbnail_in, turned_hashes

    store = known.archive.store
    chosen |= Subjects(image_ids=frozenset(_pruned_copies(chosen.image_ids, known)))
    hashes: dict[str, bytes] = {}
    thumbnails: dict[str, bytes] = {}
    for key in known.keys("pruned_set"):
        measured = [row for row in known.rows(key, "image_id", "perceptual_hash") if row[1] is not None]
        hashes.update(measured)
        if chosen.image_ids.intersection(image_id for image_id, _ in measured):
            # 4 kB each: they are read for these versions alone, and not kept.
            table = read_file(_ref(key), ["image_id", "thumbnail"], store=store)
            for image_id, thumbnail in zip(*(column.to_pylist() for column in table.columns), strict=True):
                if image_id in chosen.image_ids and thumbnail is not None:
                    thumbnails[image_id] = thumbnail
    for image_id in chosen.image_ids - thumbnails.keys():
        if image_id in store.pictures:
            # One that was never measured: nothing says how it has to be turned, and all ways are tried.
            thumbnail = thumbnail_in(store.pictures.get(image_id), orientation=1)
            if thumbnail is not None:
                thumbnails[image_id] = thumbnail
    if not thumbnails:
        return chosen
    turned = {image_id: turned_hashes(one) for image_id, one in thumbnails.items()}
    for image_id in fetches.pictures() - hashes.keys() - chosen.image_ids:
        # Fetched, and not yet measured by pruning, or never to be.
        if image_id in store.pictures:
            unmeasured = thumbnail_in(store.pictures.get(image_id), orientation=1)
            if unmeasured is not None:
                hashes[image_id] = turned_hashes(unmeasured)[0].tobytes()
    others = sorted(set(hashes) - chosen.image_ids)
    copies: set[str] = set()
    if others:
        matrix = np.frombuffer(b"".join(hashes[one] for one in others), np.uint8).reshape(len(others), -1)
        found = alike(np.concatenate(list(turned.values())), matrix)
        copies = {one for one, is_copy in zip(others, found.tolist(), strict=True) if is_copy}
    looks = {bytes(one[0]).hex() for one in turned.values()} | {hashes[one].hex() for one in copies}
    return chosen | Subjects(image_ids=frozenset(copies), looks=frozenset(looks))


def _pruned_copies(image_ids: frozenset[str], known: Known) -> set[str]:
    """The pictures of the groups of near-duplicates that pruning found these to be in."""
    groups: dict[str, set[str]] = {}
    for key in known.keys("pruned_set"):
        for image_id, kept in known.rows(key, "image_id", "duplicate_of"):
            if kept is not None:
                groups.setdefault(kept, {kept}).add(image_id)
    return {one for group in groups.values() if group & image_ids for one in group}


def _completed(chosen: Subjects, known: Known, fetches: Fetches) -> Subjects:
    """With the addresses, bytes, crops and names that belong to the pictures."""
    ids = chosen.image_ids
    urls, paths = set(chosen.urls), set(chosen.paths)
    crops: set[str] = set()
    names: set[str] = set()
    fetched: set[str] = set()
    for key in known.keys("raw_crawl"):
        columns = ("image_id", "url", "source", "attributes", "fetched_sha256")
        for image_id, url, source, text, sha256 in known.rows(key, *columns):
            if image_id in ids or chosen.has_row(source, url):
                if is_inside_folder(url):
                    paths.add(f"{source}/{url}")
                else:
                    urls.add(url)
                fetched.update([sha256] if sha256 else [])
                name = json.loads(text or "{}").get("name")
                names.update(f"{source}/{one}" for one in (url, name) if isinstance(one, str) and one)
    for key in known.keys("aligned_faces", "balanced_label_table", "evaluation_report"):
        for image_id, crop in known.rows(key, "image_id", "crop_sha256"):
            if image_id in ids and crop and SHA256_HEX.fullmatch(crop):
                crops.add(crop)
    more = chosen | Subjects(
        urls=frozenset(urls),
        paths=frozenset(paths),
        fetched=frozenset(fetched),
        crops=frozenset(crops),
        names=frozenset(names),
    )
    return more | fetches.belonging_to(more)


def is_inside_folder(url: str) -> bool:
    """Whether a table's address is the path of a file inside the folder of its source."""
    return url.startswith("file:") and not url.startswith("file://")
