"""Files that are either whole or absent: a folder by default, an object store (s3://) in production."""

import hashlib
import os
import posixpath
import uuid
from collections.abc import Iterator
from pathlib import Path

from selfai_pipeline.errors import AlteredVersion, InputError, MissingVersion, StorageError


def replace_file(path: Path, content: bytes) -> None:
    """Write a file in one move: a reader, and the start after a power cut, sees the old or the new bytes.

    Its folder is made where there is none.

    Raises:
        StorageError: the disk is full, or the folder cannot be written. Nothing half-written stays.
    """
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(str(path), error) from error


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
            AlteredVersion: the bytes have another hash; the message ends with the mend.
        """
        content = self.read(relative)
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
