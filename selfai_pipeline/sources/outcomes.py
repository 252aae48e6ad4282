"""The words of the journal: addresses, what came of asking for them, and for which reasons."""

import datetime
import json
from dataclasses import dataclass

STORED = "stored"
UNCHANGED = "unchanged"
REFUSED = "refused"
FAILED = "failed"
READ = "read"
DISCOVERED = "discovered"
LISTING = "listing"

# A failure is tried again by the next materialization; everything else is final, as long as the rules that a
# refusal comes from stay the same.
FINAL = (STORED, UNCHANGED, REFUSED, READ)
HELD = (STORED, UNCHANGED)
"""Outcomes whose picture is in the store: brought in by this day, or by another one and the same still."""

REASONS_FROM_DENIALS = ("denied_host", "denied_picture")
REASONS_FROM_LIMITS = (
    *("private_address", "foreign_domain", "too_many_bytes", "too_many_pixels"),
    *("too_many_redirects", "crawl_delay"),
)
REASONS_FROM_RULES = (*REASONS_FROM_LIMITS, *REASONS_FROM_DENIALS)
LOST = "lost"
"""Reason of a failure: the picture was stored, and is no longer there."""

NEVER_CONNECTED = ("connection_refused", "connection_failed", "host_not_found", "timeout", "tls_failed")
"""Reasons of failures in which the other side said nothing at all."""


@dataclass(frozen=True)
class Found:
    """An address to ask: `kind` is page, picture or file; `depth` counts links from a start page.

    The kind listing is of a list or folder itself, which was read on that day, with anything new or without.
    """

    url: str
    kind: str
    depth: int = 0


@dataclass(frozen=True)
class Pending:
    """A discovered address without a final outcome; `row` is its place in the journal."""

    row: int
    found: Found


@dataclass(frozen=True)
class Outcome:
    """What came of asking for an address.

    Args:
        rules: fingerprint of what it was judged by: the limits, a dot, and the deny lists.
        image_id: SHA-256 of the picture without metadata; of a denied one too, though it is not stored.
        etag: validator of the answer, as `last_modified` is; sent back to ask for news only.
        answered_url: the address that answered, where redirects led to another one.
        unchanged_since: the day whose outcome holds the picture, or the links, that this one found unchanged.
        links: what a page leads to, as `Links` writes it.
    """

    found: Found
    status: str
    rules: str
    reason: str | None = None
    fetched_at: datetime.datetime | None = None
    image_id: str | None = None
    format: str | None = None
    bytes: int | None = None
    width: int | None = None
    height: int | None = None
    orientation: int | None = None
    fetched_sha256: str | None = None
    etag: str | None = None
    last_modified: str | None = None
    answered_url: str | None = None
    unchanged_since: str | None = None
    links: str | None = None


@dataclass(frozen=True)
class Links:
    """All addresses that a page names, whether or not a crawl goes so deep."""

    pictures: list[str]
    pages: list[str]

    def to_json(self) -> str:
        return json.dumps([self.pictures, self.pages])

    @classmethod
    def from_json(cls, text: str) -> "Links":
        return cls(*json.loads(text))
