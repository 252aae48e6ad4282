"""Files that are either whole or absent: a folder by default, an object store (s3://) in production."""

import contextlib
import hashlib
import os
import posixpath
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from selfai_pipeline.errors import AlteredVersion, InputError, MissingVersion, StorageError

SYNCS_AT_ONCE = 16
"""Files of which the disk is told at once; it writes them together."""

SECONDS_OF_A_PART = 3600


def replace_file(path: Path, content: bytes) -> None:
    """Write a file in one move: a reader, and the start after a power cut, sees the old or the new bytes.

    Its folder is made where there is none.

    Raises:
        StorageError: the disk is full, or the folder cannot be written. Nothing half-written stays.
    """
    _replace_files({path: content}, parts=path.parent)


def _replace_files(contents: Mapping[Path, bytes], *, parts: Path) -> None:
    """As `replace_file`, many at once: the disk is waited for once for several of them.

    Args:
        parts: folder on the same disk, where files lie until they are whole.
    """
    written: dict[Path, Path] = {}
    opened: list[int] = []
    place = parts
    try:
        parts.mkdir(parents=True, exist_ok=True)
        try:
            for place, content in contents.items():
                part = parts / f"{place.name}.{uuid.uuid4().hex}.part"
                opened.append(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
                written[part] = place
                _write_whole(opened[-1], content)
            with ThreadPoolExecutor(SYNCS_AT_ONCE) as threads:
                list(threads.map(os.fsync, opened))
            for part, place in written.items():
                _move(part, place)
        finally:
            for file in opened:
                os.close(file)
            for part in written:
                part.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(str(place), error) from error


def written_at(paths: Iterable[Path]) -> dict[Path, float]:
    """When files were written last, seconds since 1970; one that another process just moved is left out."""
    moments: dict[Path, float] = {}
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            moments[path] = path.stat().st_mtime
    return moments


def _write_whole(file: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]


def _move(part: Path, target: Path) -> None:
    try:
        part.replace(target)
    except FileNotFoundError:
        target.parent.mkdir(parents=True, exist_ok=True)
        part.replace(target)


def _unwritable(path: str, error: OSError) -> StorageError:
    return StorageError(
        f"{path}: cannot be written ({error.strerror or error}). "
        "Free some space or mend the permissions, then run again: what was stored before is kept."
    )


class Storage:
    """A folder of files, addressed by relative paths, over fsspec.

    Args:
        url: a local folder or an fsspec address such as `s3://bucket/selfai`.

    Raises:
        InputError: the address is of no known kind, or the package that opens it is not installed.
    """

    def __init__(self, url: str | Path) -> None:
        # Dagster's definitions import this module, and fsspec would be a tenth of their start.
        import fsspec

        self.url = str(url)
        try:
            # Listings are not remembered: another process may have written since.
            self.filesystem, root = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise InputError(
                f"files cannot be kept there ({error})",
                where=self.url,
                mend="Name a folder or an address such as s3://bucket/selfai; what s3:// needs is installed "
                "with pip install --constraint constraints.txt --editable '.[s3]'.",
            ) from error
        self.root = root.rstrip("/")

    @property
    def is_local(self) -> bool:
        from fsspec.implementations.local import LocalFileSystem

        return isinstance(self.filesystem, LocalFileSystem)

    def path(self, relative: str) -> str:
        """The full path of `relative`, which may not climb out of the storage."""
        cleaned = posixpath.normpath(relative)
        if cleaned.startswith(("/", "..")) or "\\" in cleaned:
            raise ValueError(f"not a path inside the storage: {relative!r}")
        return f"{self.root}/{cleaned}"

    def local_path(self, relative: str) -> Path:
        """The path of `relative` on this machine; only for a local storage (memory maps, static files)."""
        if not self.is_local:
            raise StorageError(f"{self.url} is not a folder on this machine, {relative} has no local path.")
        return Path(self.path(relative))

    def exists(self, relative: str) -> bool:
        return bool(self.filesystem.exists(self.path(relative)))

    def size(self, relative: str) -> int | None:
        """The size of a file in bytes; None where there is none."""
        try:
            return int(self.filesystem.size(self.path(relative)))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def holds(self, relative: str, content: bytes) -> bool:
        """Whether the file has exactly these bytes; it is read only where the size is right."""
        return self.size(relative) == len(content) and self.read(relative) == content

    def read(self, relative: str) -> bytes:
        """The bytes of a file.

        Raises:
            MissingVersion: there is no such file.
        """
        try:
            return bytes(self.filesystem.cat_file(self.path(relative)))
        except FileNotFoundError:
            raise MissingVersion(f"{self.path(relative)} is not in the store.") from None

    def read_verified(self, relative: str, sha256: object, *, mend: str) -> bytes:
        """The bytes of a file, after they were found to hash to `sha256` (hexadecimal).

        Raises:
            MissingVersion: there is no such file.
            AlteredVersion: the bytes have another hash. Both messages end with the mend.
        """
        try:
            content = self.read(relative)
        except MissingVersion as error:
            raise MissingVersion(f"{error} {mend}") from None
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise AlteredVersion(f"{self.path(relative)}: its bytes now hash to {found}. {mend}")
        return content

    def write(self, relative: str, content: bytes) -> None:
        """Write a file so that a reader sees either the old bytes or the new ones, never a part.

        Raises:
            StorageError: the disk is full, or the folder cannot be written. Nothing half-written stays.
        """
        target = self.path(relative)
        if self.is_local:
            replace_file(Path(target), content)
            return
        try:
            self.filesystem.pipe_file(target, content)
        except OSError as error:
            raise _unwritable(target, error) from error

    def write_all(self, contents: Mapping[str, bytes], *, parts: str) -> None:
        """As `write`, many at once, which costs a part of the time.

        Args:
            contents: bytes by relative path.
            parts: folder in which files lie until they are whole; what a killed process left there is
                deleted by and by.

        Raises:
            StorageError: as `write`; some of the files may have been written, each as a whole.
        """
        targets = {self.path(relative): content for relative, content in contents.items()}
        if self.is_local:
            folder = Path(self.path(parts))
            _replace_files({Path(target): content for target, content in targets.items()}, parts=folder)
            return
        try:
            self.filesystem.pipe(targets)
        except OSError as error:
            raise _unwritable(self.url, error) from error

    def sweep(self, parts: str) -> None:
        """Delete what was left in a folder of parts by a process that was killed an hour ago or earlier."""
        if not self.is_local:
            return
        last = time.time() - SECONDS_OF_A_PART
        # What cannot be deleted now takes space, and harms nobody.
        with contextlib.suppress(OSError):
            for part in Path(self.path(parts)).glob("*.part"):
                if part.stat().st_mtime < last:
                    part.unlink()

    def list(self, relative: str = "") -> Iterator[str]:
        """Names of the files and folders directly under `relative`, sorted; none where it does not exist."""
        folder = self.path(relative) if relative else self.root
        if not self.filesystem.exists(folder):
            return
        for entry in sorted(self.filesystem.ls(folder, detail=False)):
            yield posixpath.basename(entry.rstrip("/"))

    def names_below(self, relative: str) -> Iterator[str]:
        """Names of all files in a folder and those below it; none where it does not exist."""
        return map(posixpath.basename, self.filesystem.find(self.path(relative)))

    def delete(self, relative: str) -> None:
        """Delete a file if it is there."""
        if self.exists(relative):
            self.filesystem.rm_file(self.path(relative))
