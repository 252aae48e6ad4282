"""Secrets of links and sessions: random, and kept as keyed hashes only."""

import contextlib
import hashlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path

from selfai_pipeline.errors import StorageError

KEY_BYTES = 32


def new_token() -> str:
    """256 random bits, to stand in an address or a cookie."""
    return secrets.token_urlsafe(32)


def hash_of(token: str, key: bytes) -> str:
    """What is kept of a token: without the key, which lies beside the database, it cannot be checked."""
    return hmac.new(key, token.encode(), hashlib.sha256).hexdigest()


def form_token(session: str) -> str:
    """What a form has to bring along so that it counts as sent from a page of this session."""
    return hmac.new(session.encode(), b"form", hashlib.sha256).hexdigest()


def load_key(path: Path) -> bytes:
    """The key of the hashes; made where there is none, for nobody but this user to read.

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
        raise StorageError(
            f"{path}: is damaged. Put it back from a copy; or delete it, and invite everybody anew with "
            "`selfai invite`."
        )
    return key
