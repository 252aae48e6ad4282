"""Files in an object store that a source names: which there are, in which state, and their bytes."""

import errno
import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selfai_pipeline.errors import InputError, PassingTrouble, SelfaiError, StorageError
from selfai_pipeline.home import Home
from selfai_pipeline.storage import Storage

# What the file systems of fsspec call the things that change with the bytes of a file.
STATE_KEYS = (
    *("ETag", "etag", "md5Hash", "content_md5", "LastModified", "last_modified", "updated", "mtime"),
    *("created", "VersionId"),
)


class SourceUnreachable(InputError, PassingTrouble):
    """Nothing of a source answered: not one address of it, or not the store of its files."""


def state_of(info: Mapping[str, Any]) -> str | None:
    """What changes with the bytes of a file, from fsspec's facts about it; None where they tell nothing."""
    marks = {key: str(info[key]) for key in STATE_KEYS if info.get(key)}
    return json.dumps({**marks, "size": info.get("size")}, sort_keys=True) if marks else None


def files_under(url: str) -> dict[str, Mapping[str, Any]]:
    """The files under an address by their names below it, each with fsspec's facts; none: an empty mapping.

    Names of which a part begins with a dot are passed over.

    Raises:
        InputError: the address is that of a file, may not be read, or its kind of store is not installed.
        SourceUnreachable: the store does not answer.
    """
    with asking(url) as storage:
        try:
            found = storage.filesystem.find(storage.root, detail=True)
        except FileNotFoundError:
            found = {}
    if storage.root in found:
        raise InputError(
            "it is a file and no folder", where=url, mend="Give the folder, or a source of the kind url_list."
        )
    files = {path.removeprefix(f"{storage.root}/"): info for path, info in found.items()}
    shown = (
        name
        for name in sorted(files)
        # A key that ends in a slash stands for an empty folder.
        if not name.endswith("/") and not any(part.startswith(".") for part in name.split("/"))
    )
    return {name: files[name] for name in shown}


def file_state(url: str) -> str | None:
    """The state of one file; None where there is none, or where nothing tells.

    Raises:
        InputError, SourceUnreachable: as `files_under`.
    """
    with asking(url) as storage:
        try:
            return state_of(storage.filesystem.info(storage.root))
        except FileNotFoundError:
            return None


def local_copy(url: str, home: Home) -> Path:
    """A copy of a stored file under `cache/`, made again only where the file has changed.

    Raises:
        InputError: there is no such file, or as `files_under`.
        SourceUnreachable: the store does not answer.
        StorageError: the disk is full. Nothing half-written stays.
    """
    folder = home.cache / "stored_files" / hashlib.sha256(url.encode()).hexdigest()[:16]
    state = file_state(url)
    copy = folder / hashlib.sha256((state or "").encode()).hexdigest()[:16]
    if state is not None and copy.exists():
        return copy
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{uuid.uuid4().hex}.part"
    try:
        with asking(url) as storage:
            storage.filesystem.get_file(storage.root, str(part))
        for old in folder.iterdir():
            if old != part:
                old.unlink(missing_ok=True)
        part.replace(copy)
    except FileNotFoundError:
        raise InputError("there is no such file", where=url, mend="Mend its path in sources.yaml.") from None
    finally:
        part.unlink(missing_ok=True)
    return copy


@contextmanager
def asking(url: str) -> Iterator[Storage]:
    """The store behind an address; what goes wrong in it becomes an error of ours, but for a missing file."""
    storage = Storage(url)
    try:
        yield storage
    except (SelfaiError, FileNotFoundError):
        raise
    except PermissionError as error:
        raise InputError(
            f"it may not be read ({error})", where=url, mend="Mend the permissions or the credentials."
        ) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(
                f"{url}: there is no space left for a copy of it. Free some space, then run again."
            ) from error
        # Every file system of fsspec raises errors of its own; not all of them are OSErrors.
        raise SourceUnreachable(
            f"it cannot be reached ({type(error).__name__}: {error})",
            where=url,
            mend="Check the address and the credentials, then run again.",
        ) from error
