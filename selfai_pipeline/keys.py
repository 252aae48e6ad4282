"""Secret keys of keyed hashes: files that nobody but their user can read."""

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

from selfai_pipeline.errors import StorageError

KEY_BYTES = 32


def load_key(path: Path, *, mend: str) -> bytes:
    """The key in a file; made where there is none, for nobody but this user to read.

    Args:
        mend: what to do where it is damaged, as a sentence.

    Raises:
        StorageError: the file cannot be read or written, or is damaged.
    """
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=path.name)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(secrets.token_bytes(KEY_BYTES))
                    file.flush()
                    os.fsync(file.fileno())
                # Of two processes that make it at once, both go on with the one that was first.
                with contextlib.suppress(FileExistsError):
                    os.link(part, path)
            finally:
                Path(part).unlink()
        key = path.read_bytes()
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be read or written ({error.strerror}). Mend the permissions of its folder."
        ) from error
    if len(key) != KEY_BYTES:
        raise StorageError(f"{path}: is damaged. {mend}")
    return key
