"""A registered scorer held against the rule: the comparison with the champion, and what follows from it."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from selfai_pipeline.errors import AlteredVersion, InputError, MissingVersion
from selfai_pipeline.evaluation.bootstrap import Estimate
from selfai_pipeline.lineage.promotions import Champion, Kind, PromotionLog
from selfai_pipeline.release.comparison import Comparison, Pair, compare
from selfai_pipeline.release.decision import Decision, RemovedInputs, decide
from selfai_pipeline.release.model_card import description, model_card
from selfai_pipeline.release.model_registry import reference
from selfai_pipeline.release.recorded import Recorded
from selfai_pipeline.release.settings import PromotionSettings
from selfai_pipeline.store import Store
from selfai_pipeline.tables import CheckpointRef, TableRef
from selfai_pipeline.training.settings import ComputeSettings

if TYPE_CHECKING:
    from mlflow import MlflowClient

DECISION = ("finding", "against", "forbidden")


def examine(
    candidate: CheckpointRef,
    opponent: Champion | None,
    labels: TableRef,
    *,
    store: Store,
    settings: PromotionSettings,
    compute: ComputeSettings,
    removed_inputs: RemovedInputs,
) -> tuple[Comparison, Decision]:
    """Compare a scorer with the champion on the test faces of `labels`, and apply the rule.

    A champion that is lost, altered or cannot score is no reason to take any scorer in its place: the rule
    then speaks against every candidate, in a sentence, until the champion is put back or a person overrides.

    Raises:
        InputError: there are no test faces, or the candidate gives a face no finite score.
        MissingVersion, AlteredVersion: a file of the candidate, or a crop, is missing or was altered.
    """
    champion = reference(opponent) if opponent else None
    options: dict[str, Any] = {"store": store, "settings": settings, "compute": compute}
    try:
        comparison = compare(candidate, champion, labels, **options)
    except (MissingVersion, AlteredVersion, InputError) as error:
        if opponent is None:
            raise
        alone = compare(candidate, None, labels, **options)
        why = f"it could not be compared with champion version {opponent.version}: {error}".rstrip(".")
        comparison = replace(
            alone,
            champion=opponent.checkpoint_sha256,
            pearson=Pair(alone.pearson.candidate),
            difference=Estimate(None, why_no_value=why, why_no_interval=why),
        )
    decision = decide(
        comparison,
        removed=removed_inputs(store, candidate),
        removed_from_champion=removed_inputs(store, champion) if champion else (),
        settings=settings,
    )
    return comparison, decision


def write_comparison(comparison: Comparison, decision: Decision, *, store: Store) -> TableRef:
    """The comparison as a table: a row a face that was compared, the figures and the decision as facts."""
    return store.tables.write(
        list(comparison.rows),
        asset="champion_comparison",
        facts={
            "comparison": comparison.to_facts(),
            "finding": decision.finding,
            "against": list(decision.against),
            "forbidden": list(decision.forbidden),
        },
    )


def read_comparison(ref: TableRef, *, store: Store) -> tuple[Comparison, Decision]:
    """What `write_comparison` stored, without the rows.

    Raises:
        MissingVersion, AlteredVersion: the table is missing or was altered.
    """
    facts = store.tables.facts(ref)
    decision = Decision(facts["finding"], tuple(facts["against"]), tuple(facts["forbidden"]))
    return Comparison.from_facts(facts["comparison"]), decision


def largest_difference(comparison: TableRef, evaluation: TableRef, *, store: Store) -> float:
    """Points by which a face that was compared differs at most from its score in the evaluation; infinite
    where the evaluation has no such face."""
    scores = {
        (row["image_id"], row["face"]): row["predicted"]
        for row in store.tables.read(evaluation, ["image_id", "face", "predicted"]).to_pylist()
    }
    rows = store.tables.read(comparison, ["image_id", "face", "candidate"]).to_pylist()
    return max(
        (abs(row["candidate"] - scores.get((row["image_id"], row["face"]), math.inf)) for row in rows),
        default=0.0,
    )


def comparison_of(log: PromotionLog, checkpoint_sha256: str) -> Comparison | None:
    """The comparison by which a scorer became the champion the last time; None where it never did."""
    for entry in reversed(log.entries):
        if entry.kind is Kind.PROMOTION and entry.champion.checkpoint_sha256 == checkpoint_sha256:
            figures: Mapping[str, Any] = entry.evidence
            return Comparison.from_facts(
                {name: value for name, value in figures.items() if name not in DECISION}
            )
    return None


def log_card(
    facts: Recorded, mlflow_run: str, *, client: "MlflowClient", comparison: Comparison | None
) -> str:
    """Put the model card of a registered scorer into MLflow; returns the card.

    The run has it whole, as `model_card.md`; the page of the registered version has its beginning.
    """
    card = model_card(facts, comparison=comparison)
    if mlflow_run:
        client.log_text(mlflow_run, card, "model_card.md")
    client.update_model_version(facts.model, str(facts.version), description=description(facts))
    return card
