"""Promotion by the graph: from a comparison that passed its check to the alias."""

from selfai_pipeline.errors import InputError
from selfai_pipeline.lineage.promotions import Champion, Kind, Way, read_promotions
from selfai_pipeline.lineage.registry import MODEL
from selfai_pipeline.release.champion import Move, NotPromoted, promote
from selfai_pipeline.release.decision import RemovedInputs
from selfai_pipeline.release.examination import read_comparison
from selfai_pipeline.release.model_registry import ModelRegistry
from selfai_pipeline.store import Store
from selfai_pipeline.tables import PROMOTION_CHECK, TableRef

BY = "the check of the graph"


def promote_compared(
    comparison: TableRef,
    *,
    registry: ModelRegistry,
    store: Store,
    removed_inputs: RemovedInputs,
    dagster_run: str,
) -> tuple[TableRef, str]:
    """Make the scorer of a comparison the champion; a champion that it is already stays as it is.

    Returns:
        One row: which version is the champion, and which was before; and the reason in words.

    Raises:
        NotPromoted: the check `promotion` has not passed, or a person took the scorer back before.
        InputError: the scorer is not registered, or the champion changed since the comparison.
        AlteredVersion: a file of the version, the log, or the alias is not as Selfai left it.
    """
    found, decision = read_comparison(comparison, store=store)
    where = f"{comparison.asset} {comparison.sha256[:12]}"
    if not (decision.passes and store.tables.verdicts(comparison).get(PROMOTION_CHECK, False)):
        raise NotPromoted(
            f"its check {PROMOTION_CHECK} has not passed ({decision.text})".replace(".)", ")"),
            where=where,
            mend="Materialize champion_comparison with its checks; the champion stays as it is.",
        )
    version = registry.of_checkpoint(found.candidate)
    if version is None:
        raise InputError(
            f"the scorer {found.candidate[:12]} is not registered",
            where=where,
            mend="Materialize finetuned_scorer again: it is registered once its checks have passed.",
        )
    promote(
        version,
        comparison=found,
        decision=decision,
        move=Move(Way.CHECK, BY, decision.finding, dagster_run=dagster_run),
        registry=registry,
        store=store,
        removed_inputs=removed_inputs,
    )
    made = Champion(version.version, version.checkpoint_sha256)
    entry = next(
        one
        for one in reversed(read_promotions(store).entries)
        if one.champion == made and one.kind is Kind.PROMOTION
    )
    row = {
        "model": MODEL,
        "version": made.version,
        "checkpoint_sha256": made.checkpoint_sha256,
        "before_version": entry.before.version if entry.before else None,
        "before_sha256": entry.before.checkpoint_sha256 if entry.before else None,
    }
    return store.tables.write([row], asset="champion", facts={"finding": decision.finding}), entry.reason
