"""The files of a folder source: their names, their addresses in the journal, and their bytes."""

import contextlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home
from selfai_pipeline.sources.outcomes import FAILED, REFUSED
from selfai_pipeline.sources.settings import FolderSource
from selfai_pipeline.sources.source_kinds import DAY_PLACEHOLDER, is_in_object_store
from selfai_pipeline.sources.stored_files import asking, files_under, state_of
from selfai_pipeline.storage import replace_file


class FileNotTaken(Exception):
    """A file gave no bytes; `status` and `reason` are what the journal says of it."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class FolderFiles(Protocol):
    """The files of one folder and of the folders below it; names are paths inside of it."""

    def names(self) -> Iterator[str]: ...

    def address(self, name: str) -> str:
        """The address of a file, as the journal keeps it."""

    def known_sha256(self, name: str) -> str | None:
        """The hash of a file's bytes where it is known without reading them."""

    def read(self, name: str, most: int) -> bytes:
        """Up to one byte more than `most`.

        Raises:
            FileNotTaken: there is nothing to read, or it cannot be read now.
        """

    def remember(self, name: str, sha256: str) -> None:
        """Keep the hash of a file's bytes, for `known_sha256`."""

    def close(self) -> None: ...


def place_of(source: FolderSource, day: str, home: Home) -> str:
    """The path or address of a source's folder for one day."""
    return source.place(day) if is_in_object_store(source.path) else str(source.folder(home, day))


def root_address(source: FolderSource, day: str, home: Home) -> str:
    """The address of a source's folder for one day, without a slash at its end."""
    if is_in_object_store(source.path):
        return source.place(day).rstrip("/")
    return source.folder(home, day).resolve().as_uri().rstrip("/")


def open_folder(source: FolderSource, day: str, home: Home) -> FolderFiles | None:
    """The files of a source's folder for one day; None where there is no such folder.

    Raises:
        InputError: the folder cannot be read.
        SourceUnreachable: the store of the folder does not answer.
    """
    if is_in_object_store(source.path):
        stored = StoredFiles(source.place(day), home.cache / "folders" / f"{source.name}.json")
        return stored if stored.found else None
    folder = source.folder(home, day)
    try:
        os.scandir(folder).close()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(
            f"the folder {folder} cannot be read ({error.strerror})",
            where=f"source {source.name}",
            mend="Mend its permissions, then run again.",
        ) from error
    return LocalFiles(folder)


def holds_days(source: FolderSource, home: Home) -> bool:
    """Whether the folder is there that holds those of the days, so that a day without one is an empty day."""
    if not source.has_subfolder_a_day:
        return False
    before = source.path.partition(DAY_PLACEHOLDER)[0].rpartition("/")[0]
    if not is_in_object_store(source.path):
        return (home.root / Path(before).expanduser()).is_dir()
    # A store has no folders, only the files in them.
    return True


class LocalFiles:
    """A folder on this machine. Links that lead out of it are not followed, pipes and devices not opened."""

    def __init__(self, folder: Path) -> None:
        self.root = folder.resolve()

    def names(self) -> Iterator[str]:
        """Sorted; a folder itself where it stands behind a link or cannot be listed."""
        for path in self._paths(self.root):
            yield str(path.relative_to(self.root))

    def address(self, name: str) -> str:
        return (self.root / name).as_uri()

    def known_sha256(self, name: str) -> None:
        # A file can change and keep its moment and size: here all are read.
        return None

    def remember(self, name: str, sha256: str) -> None:
        pass

    def close(self) -> None:
        pass

    def read(self, name: str, most: int) -> bytes:
        path = self.root / name
        try:
            target = path.resolve(strict=True)
            if not target.is_relative_to(self.root):
                raise FileNotTaken(REFUSED, "outside_folder")
            if target == path and path.is_dir():
                # One that could be listed would have been entered.
                raise FileNotTaken(FAILED, "unreadable")
            content = _regular_file(target, most)
        except (OSError, RuntimeError):
            raise FileNotTaken(FAILED, "unreadable") from None
        if content is None:
            raise FileNotTaken(REFUSED, "not_a_file")
        return content

    def _paths(self, folder: Path) -> Iterator[Path]:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            yield folder
            return
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from self._paths(Path(entry.path))
            else:
                yield Path(entry.path)


def _regular_file(path: Path, most: int) -> bytes | None:
    """Up to one byte more than `most`; None for a folder, a pipe, a device. A pipe must not block."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read(most + 1)


class StoredFiles:
    """A folder in an object store, listed once.

    What the store says of a file's state is kept under `cache/` with the hash of its bytes, so that a file
    that has not changed is not fetched again.

    Raises:
        InputError, SourceUnreachable: as `files_under`.
    """

    def __init__(self, url: str, cache: Path) -> None:
        self.url = url.rstrip("/")
        self.found = files_under(url)
        self.cache = cache
        self.hashes = _remembered(cache)
        self.changed = False

    def names(self) -> Iterator[str]:
        yield from self.found

    def address(self, name: str) -> str:
        return f"{self.url}/{quote(name)}"

    def known_sha256(self, name: str) -> str | None:
        state, sha256 = self.hashes.get(self.address(name), (None, None))
        return sha256 if state is not None and state == state_of(self.found[name]) else None

    def remember(self, name: str, sha256: str) -> None:
        state = state_of(self.found[name])
        if state is not None:
            self.hashes[self.address(name)] = (state, sha256)
            self.changed = True

    def close(self) -> None:
        if self.changed:
            replace_file(self.cache, json.dumps(self.hashes).encode())

    def read(self, name: str, most: int) -> bytes:
        if (self.found[name].get("size") or 0) > most:
            raise FileNotTaken(REFUSED, "too_many_bytes")
        try:
            with asking(self.url) as storage:
                path = f"{storage.root}/{name}"
                return bytes(storage.filesystem.cat_file(path, start=0, end=most + 1))
        except (InputError, FileNotFoundError):
            raise FileNotTaken(FAILED, "unreadable") from None


def _remembered(cache: Path) -> dict[str, tuple[str, str]]:
    with contextlib.suppress(OSError, ValueError):
        found: Any = json.loads(cache.read_bytes())
        if isinstance(found, dict):
            return {address: (str(state), str(sha256)) for address, (state, sha256) in found.items()}
    return {}
