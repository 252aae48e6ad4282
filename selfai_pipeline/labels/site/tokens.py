"""Secrets of links and sessions: random, and kept as keyed hashes only."""

import hashlib
import hmac
import secrets
from pathlib import Path

from selfai_pipeline import keys


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
    """The key of the hashes; made where there is none (see `keys.load_key`)."""
    return keys.load_key(
        path,
        mend="Put it back from a copy; or delete it, and invite everybody anew with `selfai invite`.",
    )
