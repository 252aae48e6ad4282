"""Files that are either whole or absent: a folder by default, an object store (s3://) in production."""

import posixpath
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from selfai_pipeline.errors import MissingVersion, StorageError


class Storage:
    """A folder of files, addressed by relative paths, over fsspec.

    Args:
        url: a local folder or an fsspec address such as `s3://bucket/selfai`.
    """

    def __init__(self, url: str | Path) -> None:
        self.url = str(url)
        self.filesystem, root = fsspec.core.url_to_fs(self.url)
        self.root = root.rstrip("/")

    @property
    def is_local(self) -> bool:
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

    def read(self, relative: str) -> bytes:
        """The bytes of a file.

        Raises:
            MissingVersion: there is no such file.
        """
        try:
            return bytes(self.filesystem.cat_file(self.path(relative)))
        except FileNotFoundError:
            raise MissingVersion(f"{self.path(relative)} is not in the store.") from None

    def open(self, relative: str) -> Any:
        """A seekable binary file to read from, so that columns can be read without the rest."""
        try:
            return self.filesystem.open(self.path(relative), "rb")
        except FileNotFoundError:
            raise MissingVersion(f"{self.path(relative)} is not in the store.") from None

    def write(self, relative: str, content: bytes) -> None:
        """Write a file so that a reader sees either the old bytes or the new ones, never a part.

        Raises:
            StorageError: the disk is full, or the folder cannot be written. Nothing half-written stays.
        """
        target = self.path(relative)
        temporary = f"{target}.{uuid.uuid4().hex}.part"
        try:
            if not self.is_local:
                self.filesystem.pipe_file(target, content)
                return
            self.filesystem.makedirs(posixpath.dirname(target), exist_ok=True)
            try:
                Path(temporary).write_bytes(content)
                Path(temporary).replace(target)
            finally:
                Path(temporary).unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(
                f"{target}: cannot be written ({error.strerror or error}). "
                "Free some space or mend the permissions, then run again: what was stored before is kept."
            ) from error

    def list(self, relative: str = "") -> Iterator[str]:
        """Names of the files and folders directly under `relative`, sorted; none where it does not exist."""
        folder = self.path(relative) if relative else self.root
        if not self.filesystem.exists(folder):
            return
        for entry in sorted(self.filesystem.ls(folder, detail=False)):
            yield posixpath.basename(entry.rstrip("/"))

    def delete(self, relative: str) -> None:
        """Delete a file if it is there."""
        if self.exists(relative):
            self.filesystem.rm_file(self.path(relative))
