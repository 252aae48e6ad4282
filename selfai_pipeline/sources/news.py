"""Asking again on another day: what is sent to ask for news only, and what an answer without news means."""

import re
from collections.abc import Mapping
from dataclasses import replace

from selfai_pipeline.picture_store import PictureStore
from selfai_pipeline.sources.outcomes import READ, STORED, UNCHANGED, Found, Outcome

NOT_MODIFIED = "not_modified"
SAME_BYTES = "same_bytes"
VALIDATOR = re.compile(r"[ -~]{1,500}")


def with_validators(outcome: Outcome, headers: Mapping[str, bytes | None], *, answered: str) -> Outcome:
    """The outcome with what another day needs to ask for news only; what the answer leaves out stays.

    Args:
        headers: of the answer.
        answered: the address that answered, at the end of all redirects.
    """
    return replace(
        outcome,
        etag=_validator(headers.get("ETag")) or outcome.etag,
        last_modified=_validator(headers.get("Last-Modified")) or outcome.last_modified,
        answered_url=None if answered == outcome.found.url else answered,
    )


def _validator(value: bytes | None) -> str | None:
    text = (value or b"").decode("latin-1").strip()
    return text if VALIDATOR.fullmatch(text) else None


def usable(earlier: Outcome | None, *, found: Found, pictures: PictureStore) -> Outcome | None:
    """The outcome of another day, if what it brought is still there and is of the kind that is looked for."""
    if earlier is None:
        return None
    if earlier.status == READ:
        return earlier if found.kind == "page" else None
    return earlier if earlier.image_id is not None and earlier.image_id in pictures else None


def conditions(earlier: Outcome, *, rules: str) -> dict[str, str]:
    """Headers that ask whether anything changed; none where the content has to be judged anew.

    Args:
        rules: fingerprint of the rules by which it would be judged.
    """
    # What was let in by other limits has to be looked at again.
    if earlier.rules.partition(".")[0] != rules.partition(".")[0]:
        return {}
    sent = {"If-None-Match": earlier.etag, "If-Modified-Since": earlier.last_modified}
    return {name: value for name, value in sent.items() if value}


def unchanged(earlier: Outcome, *, found: Found, rules: str) -> Outcome:
    """The outcome of an answer that brought nothing new."""
    status = READ if earlier.status == READ else UNCHANGED
    return replace(earlier, found=found, status=status, rules=rules, reason=NOT_MODIFIED, fetched_at=None)


def without_repeat(outcome: Outcome, earlier: Outcome | None) -> Outcome:
    """The outcome of a picture, which is `unchanged` where another day holds the same one of this address.

    The same bytes under another orientation are another picture.
    """
    if outcome.status != STORED or earlier is None:
        return outcome
    if (outcome.image_id, outcome.orientation) != (earlier.image_id, earlier.orientation):
        return outcome
    return replace(outcome, status=UNCHANGED, reason=SAME_BYTES, unchanged_since=earlier.unchanged_since)
