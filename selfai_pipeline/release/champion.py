"""The champion: the alias in MLflow's registry, moved only together with an entry in the log of promotions.

A move is three steps: the entry, the alias, the tags of the version with the entry's hash. Where a process
was killed between them, the next one finishes the move; where the alias is anywhere else than the log says,
it was moved from outside, and nothing is moved until a person has said which of the two holds.
"""

import getpass
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from selfai_pipeline.errors import AlteredVersion, InputError
from selfai_pipeline.lineage.promotions import (
    Champion,
    Kind,
    Promotion,
    PromotionLog,
    Way,
    append_promotion,
    promotion_lock,
    read_promotions,
)
from selfai_pipeline.lineage.registry import (
    CHAMPION,
    CHECKPOINT_TAG,
    MODEL,
    PROMOTION_TAG,
    STATUS_TAG,
    RegisteredVersion,
)
from selfai_pipeline.picture_store import SHA256_HEX
from selfai_pipeline.release.comparison import Comparison
from selfai_pipeline.release.decision import Decision, RemovedInputs
from selfai_pipeline.release.model_registry import ModelRegistry, check_intact, reference
from selfai_pipeline.removal.reasons import checked_reason
from selfai_pipeline.store import Store


class NotPromoted(InputError):
    """The rule speaks against a move of the champion; the message says what, and what a person can do."""


@dataclass(frozen=True)
class Move:
    """By whom and why the champion is moved.

    `override` lets a person promote what the comparison speaks against; the removed-data rule stays.
    """

    way: Way
    by: str
    reason: str
    override: bool = False
    dagster_run: str = ""


def by_hand(reason: str, *, store: Store, by: str = "", override: bool = False) -> Move:
    """A move by a person, who is the user of this machine where `by` is empty.

    Raises:
        InputError, AlteredVersion, StorageError: as `checked_reason`.
    """
    told = checked_reason(reason, store=store, mend="Say in a sentence why the champion changes.")
    return Move(Way.HAND, by.strip() or getpass.getuser(), told, override=override)


def promote(
    version: RegisteredVersion,
    *,
    comparison: Comparison,
    decision: Decision,
    move: Move,
    registry: ModelRegistry,
    store: Store,
    removed_inputs: RemovedInputs,
) -> Promotion | None:
    """Make a version the champion; None where it is that already.

    Args:
        comparison: of this version with the champion.
        decision: what the rule says of it.
        removed_inputs: asked again now, whatever it said when the two were compared.

    Raises:
        NotPromoted: the rule speaks against it, or it was taken back before and no person asks.
        InputError: the comparison was with another champion than the present one.
        AlteredVersion: a file of the version, the log, or the alias is not as Selfai left it.
    """
    where = f"{version.model}@{version.version}"
    with promotion_lock(store.home):
        log, present = _settled(registry, store, by_hand=move.way is Way.HAND)
        new = Champion(version.version, version.checkpoint_sha256)
        if present == new == log.champion:
            return None
        if comparison.candidate != new.checkpoint_sha256:
            raise ValueError(f"{where} is not the scorer that was compared")
        opponent = opponent_of(new, log=log, present=present)
        if comparison.champion != (opponent.checkpoint_sha256 if opponent else ""):
            raise InputError(
                "the champion changed since the two were compared",
                where=where,
                mend="Compare again: materialize champion_comparison, or run the command again.",
            )
        _refuse_removed(new, store=store, removed_inputs=removed_inputs)
        taken_back = log.taken_back(new.checkpoint_sha256)
        if taken_back and move.way is Way.CHECK:
            raise NotPromoted(
                f"it was taken back by {taken_back.by} on {taken_back.at[:10]} ({taken_back.reason})",
                where=where,
                mend=f"`selfai promote {where} --reason ...` makes it champion again.",
            )
        if decision.against and not (move.override and move.way is Way.HAND):
            raise NotPromoted(
                " ".join(decision.against).rstrip("."),
                where=where,
                mend="The champion stays. `selfai promote` with --override promotes it all the same.",
            )
        check_intact(version, store=store)
        entry = _entry(
            Kind.PROMOTION,
            new,
            before=log.champion if present == new else present,
            move=move,
            log=log,
            overridden=decision.against,
            evidence={"finding": decision.finding, **comparison.to_facts()},
        )
        _carry_out(entry, registry=registry, store=store)
    return entry


def opponent_of(new: Champion, *, log: PromotionLog, present: Champion | None) -> Champion | None:
    """Whom a version is compared with: who has the alias, or, where it has it itself, the one before."""
    if present and present.checkpoint_sha256 != new.checkpoint_sha256:
        return present
    return log.opponent_of(new.checkpoint_sha256)


def rollback(
    *, move: Move, registry: ModelRegistry, store: Store, removed_inputs: RemovedInputs
) -> Promotion:
    """Give the alias back to the champion before.

    Raises:
        InputError: there is none, or it is not registered any more.
        NotPromoted: it has learnt from data that was removed since.
        AlteredVersion: a file of it, the log, or the alias is not as Selfai left it.
    """
    with promotion_lock(store.home):
        log, present = _settled(registry, store, by_hand=False)
        line = log.line
        if len(line) < 2:
            raise InputError(
                "there is no champion before this one" if line else "there is no champion to take back",
                where=MODEL,
                mend="`selfai promote MODEL@VERSION --reason ...` makes another version the champion.",
            )
        before = line[-2]
        version = registry.find(before.version)
        if version.checkpoint_sha256 != before.checkpoint_sha256:
            raise _foreign_checkpoint(version, before)
        _refuse_removed(before, store=store, removed_inputs=removed_inputs)
        check_intact(version, store=store)
        entry = _entry(Kind.ROLLBACK, before, before=present, move=move, log=log)
        _carry_out(entry, registry=registry, store=store)
    return entry


def _refuse_removed(champion: Champion, *, store: Store, removed_inputs: RemovedInputs) -> None:
    removed = removed_inputs(store, reference(champion))
    if removed:
        raise NotPromoted(
            f"removed data is in it: {removed[0]}",
            where=f"{MODEL}@{champion.version}",
            mend="Train anew without it, or promote another version; nobody can override this rule.",
        )


def champion_now(registry: ModelRegistry, store: Store) -> Champion | None:
    """Who has the alias; None where nobody has. Raises AlteredVersion as `promote` does."""
    with promotion_lock(store.home):
        return _settled(registry, store, by_hand=False)[1]


def opponent_now(
    version: RegisteredVersion, *, registry: ModelRegistry, store: Store, by_hand: bool = True
) -> Champion | None:
    """Whom a version has to be better than, see `opponent_of`.

    Args:
        by_hand: a person asks, so that an alias that was moved from outside is taken as it is.

    Raises:
        AlteredVersion: the log is damaged; or the alias was moved from outside, and no person asks.
    """
    with promotion_lock(store.home):
        log, present = _settled(registry, store, by_hand=by_hand)
    new = Champion(version.version, version.checkpoint_sha256)
    return opponent_of(new, log=log, present=present)


def _settled(registry: ModelRegistry, store: Store, *, by_hand: bool) -> tuple[PromotionLog, Champion | None]:
    """The log and who has the alias, after a move that a killed process left unfinished was finished.

    Args:
        by_hand: a person says who is the champion: an alias that was moved from outside is taken as it is.
    """
    log = read_promotions(store)
    number, last = registry.alias(CHAMPION), log.last
    if number is None and last is None:
        return log, None
    if last and last.model == MODEL:
        is_tagged = _tag_of(registry, last.champion) in (log.last_sha256, None)
        at = number == last.champion.version
        if not is_tagged and (at or number == (last.before.version if last.before else None)):
            _finish(last, log.last_sha256, registry=registry)
            number, at = last.champion.version, True
        if at:
            version = registry.find(last.champion.version)
            if version.checkpoint_sha256 == last.champion.checkpoint_sha256:
                return log, last.champion
            if not by_hand:
                raise _foreign_checkpoint(version, last.champion)
    if by_hand:
        sha256 = "" if number is None else registry.find(number).checkpoint_sha256
        # What names no checkpoint of ours, nobody can be compared with.
        return log, Champion(number, sha256) if number and SHA256_HEX.fullmatch(sha256) else None
    found = "gone" if number is None else f"at version {number}"
    told = f"version {last.champion.version}" if last else "nothing of it"
    raise AlteredVersion(
        f"{MODEL}: the alias {CHAMPION} is {found}, and the log of promotions says {told}: it was moved from "
        "outside of Selfai. `selfai promote MODEL@VERSION --reason ...` settles which version is champion."
    )


def _tag_of(registry: ModelRegistry, champion: Champion) -> str | None:
    """The entry that moved the champion to a version last, by its tag; None where it is not registered."""
    try:
        version = registry.find(champion.version)
    except InputError:
        return None
    return registry.tags(version.version).get(PROMOTION_TAG, "")


def _foreign_checkpoint(version: RegisteredVersion, expected: Champion) -> AlteredVersion:
    return AlteredVersion(
        f"{MODEL}@{version.version}: it is registered with checkpoint {version.checkpoint_sha256[:12]}, and "
        f"the log of promotions says {expected.checkpoint_sha256[:12]}. Put its tag {CHECKPOINT_TAG} back, "
        "or promote another version by hand."
    )


def _entry(
    kind: Kind,
    champion: Champion,
    *,
    before: Champion | None,
    move: Move,
    log: PromotionLog,
    overridden: Sequence[str] = (),
    evidence: Mapping[str, Any] | None = None,
) -> Promotion:
    return Promotion(
        number=len(log.entries) + 1,
        kind=kind,
        way=move.way,
        model=MODEL,
        champion=champion,
        before=before,
        by=move.by,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        reason=move.reason,
        overridden=tuple(overridden),
        evidence=evidence or {},
        dagster_run=move.dagster_run,
        previous=log.last_sha256,
    )


def _carry_out(entry: Promotion, *, registry: ModelRegistry, store: Store) -> None:
    append_promotion(entry, store=store)
    _finish(entry, entry.sha256, registry=registry)


def _finish(entry: Promotion, sha256: str, *, registry: ModelRegistry) -> None:
    """The alias and the tags of an entry; doing it again changes nothing."""
    registry.move_alias(entry.champion.version)
    if entry.before and entry.before.version != entry.champion.version:
        status = "taken back" if entry.kind is Kind.ROLLBACK else "former champion"
        registry.tag(entry.before.version, {STATUS_TAG: status})
    told = {
        STATUS_TAG: CHAMPION,
        "selfai.promoted_by": entry.by,
        "selfai.promoted_at": entry.at,
        "selfai.reason": entry.reason,
        "selfai.overridden": " ".join(entry.overridden),
    }
    # The hash comes last: it says that the move is complete.
    registry.tag(entry.champion.version, {**told, PROMOTION_TAG: sha256})
