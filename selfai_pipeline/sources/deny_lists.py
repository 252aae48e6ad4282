"""The deny lists over what a journal holds: a change of them is judged again without asking any site."""

from collections.abc import Collection

from selfai_pipeline.picture_store import PictureStore
from selfai_pipeline.sources.addresses import host_of, is_within
from selfai_pipeline.sources.journal import Journal
from selfai_pipeline.sources.outcomes import HELD, REASONS_FROM_DENIALS, REFUSED, Outcome
from selfai_pipeline.sources.settings import CrawlSettings

DENIED_HOST = "denied_host"
DENIED_PICTURE = "denied_picture"


def judge_again(
    source: str, day: str, *, journal: Journal, pictures: PictureStore, settings: CrawlSettings, rules: str
) -> None:
    """Refuse pictures that are denied by now, and take back those that no longer are.

    A picture that was never stored cannot be taken back: its address is left to be asked again.

    Args:
        rules: fingerprint of the rules as they are now.
    """
    reasons = None if settings.deny_pictures or settings.deny_hosts else REASONS_FROM_DENIALS
    hosts, denied = frozenset(settings.deny_hosts), frozenset(settings.deny_pictures)
    for outcome in journal.outcomes(source, day, reasons=reasons):
        judged = None
        if outcome.status in HELD or outcome.reason in REASONS_FROM_DENIALS:
            reason = denial(outcome, hosts=hosts, pictures=denied)
            if reason is not None:
                judged = _refused(outcome, reason, rules)
            elif outcome.status not in HELD:
                judged = _taken_back(source, day, outcome, journal=journal, pictures=pictures)
        if judged is not None and judged != outcome:
            journal.record(source, day, judged)


def denial(outcome: Outcome, *, hosts: Collection[str], pictures: frozenset[str]) -> str | None:
    """Why the address or the picture of an outcome is denied; None where it is not."""
    if is_within(host_of(outcome.found.url), hosts):
        return DENIED_HOST
    return DENIED_PICTURE if pictures & {outcome.fetched_sha256, outcome.image_id} else None


def _refused(outcome: Outcome, reason: str, rules: str) -> Outcome:
    return Outcome(
        outcome.found,
        REFUSED,
        rules,
        reason=reason,
        fetched_at=outcome.fetched_at,
        image_id=outcome.image_id,
        fetched_sha256=outcome.fetched_sha256,
    )


def _taken_back(
    source: str, day: str, outcome: Outcome, *, journal: Journal, pictures: PictureStore
) -> Outcome | None:
    before = journal.last(source, day, outcome.found.url, statuses=HELD)
    if before is None or before.image_id is None or before.image_id not in pictures:
        return None
    return before
