"""A last look through the home: which files name what was removed still?"""

import gzip
import re
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from selfai_pipeline.removal.databases import HEADER, cells
from selfai_pipeline.removal.own import own_names
from selfai_pipeline.removal.places import Way, place_of
from selfai_pipeline.removal.plan import Plan
from selfai_pipeline.removal.texts import Needles
from selfai_pipeline.sources.settings import UrlListSource, load_sources
from selfai_pipeline.sources.source_kinds import is_in_object_store
from selfai_pipeline.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

PARQUET = b"PAR1"
GZIP = b"\x1f\x8b"
ROWS_AT_ONCE = 20_000
PIECE = 1 << 24
LONGEST_NAME = 1 << 14
"""Bytes of the longest address that is looked for across two pieces."""

BIG = re.compile(r"(pictures|crops|cache/pixels)/.*|.*\.safetensors")
"""Bytes without names in them: here the names of the files tell."""


def roots(store: Store) -> list[Path]:
    """The home, and the folder of the storage where that is another one of this machine."""
    home, storage = store.home.root, Path(store.files.root)
    is_elsewhere = store.files.is_local and not storage.is_relative_to(home)
    return [home, storage] if is_elsewhere else [home]


def traces(plan: Plan, store: Store) -> list[str]:
    """The files of the home, by their path inside it, that name any of it: hashes, addresses, hosts or
    annotators; of a storage in another folder by their whole path, and so are the pictures and lists of the
    sources that lie elsewhere on this machine. The plan, and the sample gallery, are passed over; so is what
    stands in the names of Selfai's own folders and services.
    """
    needles = Needles.of(plan.subjects, own=own_names(store))
    found = {
        relative if root == store.home.root else str(path)
        for root in roots(store)
        for relative, path in _files(root)
        if needles.are_in(relative.encode())
        or (
            BIG.fullmatch(relative) is None
            and any(map(needles.are_in, _contents(path, is_cleaned=_is_ours(relative))))
        )
    }
    elsewhere = _elsewhere(plan, store, needles)
    found |= {str(path) for path in elsewhere if not any(map(path.resolve().is_relative_to, roots(store)))}
    return sorted(found)


def _elsewhere(plan: Plan, store: Store, needles: Needles) -> Iterator[Path]:
    """The pictures that lie in folders of sources, and the lists that name any of it, wherever they are."""
    for url in plan.subjects.urls:
        if url.startswith("file://") and (picture := Path(unquote(urlsplit(url).path))).is_file():
            yield picture
    home = store.home
    for source in load_sources(home.sources_file) if home.sources_file.exists() else []:
        if isinstance(source, UrlListSource) and not is_in_object_store(source.path):
            path = source.file(home)
            if path.is_file() and any(map(needles.are_in, _contents(path))):
                yield path


def is_users_own(path: str, store: Store) -> bool:
    """Whether a file that `traces` names is the user's to mend; the others are kept by Selfai."""
    whole = store.home.root / path
    inside = [whole.relative_to(root).as_posix() for root in roots(store) if whole.is_relative_to(root)]
    place = place_of(inside[0]) if inside else None
    return place is None or place.way is Way.LEFT


def _is_ours(relative: str) -> bool:
    place = place_of(relative)
    return place is not None and place.way in (Way.REWRITTEN, Way.SCRUBBED)


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    for path in root.rglob("*"):
        relative = path.relative_to(root).as_posix()
        place = place_of(relative)
        if not path.is_file() or path.is_symlink() or relative.startswith("cache/gallery/"):
            continue
        if place is None or place.way is not Way.OWN:
            yield relative, path


def _contents(path: Path, *, is_cleaned: bool = False) -> Iterator[bytes]:
    """The bytes of a file, of gzip also those that are packed in it; of Parquet those of its texts, which are
    compressed in it, and of SQLite its cells, unpacked, as well.

    Args:
        is_cleaned: a database has nothing but its cells: in its pages Selfai's own names may be cut in two.
    """
    with path.open("rb") as file:
        start = file.read(len(HEADER))
    if start == HEADER:
        # A damaged one of the user's is searched as far as it can be read.
        with suppress(sqlite3.Error):
            yield from cells(path)
            if is_cleaned:
                return
    if start.startswith(PARQUET):
        yield from _texts_of_parquet(path)
        return
    yield from _pieces(path)
    if start.startswith(GZIP):
        with suppress(EOFError, zlib.error, gzip.BadGzipFile), gzip.open(path) as unpacked:
            # What comes before a damaged place is read as well.
            yield from _pieces_of(unpacked.read1)


def _texts_of_parquet(path: Path) -> Iterator[bytes]:
    """Each column with texts in it, lists and structures too, in pieces; the bytes of what cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        plain = [one.name for one in pq.read_schema(path) if pa.types.is_string(one.type)]
        # A text that many rows share is read once: written out for each, it could take more than memory has.
        file = pq.ParquetFile(path, pre_buffer=False, read_dictionary=plain)
        yield repr(file.schema_arrow.metadata).encode()
        texts = [one.name for one in file.schema_arrow if "string" in str(one.type)]
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=texts, use_threads=False):
            yield from map(_words, batch.columns)
    except (pa.ArrowException, OSError, ValueError):
        yield from _pieces(path)


def _words(column: "pa.Array") -> bytes:
    """The texts in a column, whatever is no UTF-8 too; of a dictionary each once."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary.take(column.indices.unique().drop_null())
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return b"\n".join(filter(None, column.cast(pa.large_binary()).to_pylist()))
    return "\n".join(map(str, column.to_pylist())).encode(errors="replace")


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from _pieces_of(file.read)


def _pieces_of(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """The bytes of a file, which may be larger than memory; each piece begins with the end of the last."""
    end = b""
    while piece := read(PIECE):
        yield end + piece
        end = (end + piece)[-LONGEST_NAME:]
