"""The scorer beside the champion that it has to be better than, on the test faces that neither has seen."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from selfai_pipeline.errors import AlteredVersion, InputError, MissingVersion
from selfai_pipeline.evaluation.paired import compare_scorers
from selfai_pipeline.evaluation.scoring import score_crops
from selfai_pipeline.evaluation.settings import EvaluationSettings
from selfai_pipeline.picture_store import SHA256_HEX
from selfai_pipeline.store import Store
from selfai_pipeline.tables import CheckpointRef, TableRef
from selfai_pipeline.training.provenance import COLUMNS, chain_of, seen_clusters
from selfai_pipeline.training.scorer import Scorer
from selfai_pipeline.training.settings import ComputeSettings

logger = logging.getLogger("selfai.evaluation")


@dataclass(frozen=True)
class Champion:
    """The scorer in use, or that was before this one: its checkpoint, and its version in words."""

    ref: CheckpointRef
    name: str


def beside_champion(
    champion: Champion | None,
    faces: Sequence[Mapping[str, Any]],
    *,
    labels: TableRef,
    store: Store,
    settings: EvaluationSettings,
    compute: ComputeSettings,
) -> dict[str, Any]:
    """How the scorer differs from the champion; JSON values.

    Keys: `name` and `sha256` of the champion (None without one), `reason`, why there is no comparison, else
    empty; where there is one `seen`, the test faces left out because the champion has learnt from them or was
    chosen by them, in themselves or in another picture of their cluster, and the figures of
    `paired.Comparison`.

    Args:
        faces: rows of the evaluation table.
    """
    if champion is None:
        return {"name": None, "sha256": None, "reason": "no other scorer has been champion yet"}
    known = {"name": champion.name, "sha256": champion.ref.sha256}
    if not SHA256_HEX.fullmatch(champion.ref.sha256):
        return {**known, "sha256": None, "reason": "the log of promotions names no checkpoint of it"}
    try:
        predicted, seen = _unseen_scores(
            champion.ref, labels, store=store, settings=settings, compute=compute
        )
    except (AlteredVersion, InputError, MissingVersion) as trouble:
        # The page is about the scorer: a champion that cannot be read must not keep it from being written.
        # The message may name a path of this machine, and the page may be sent on.
        logger.warning("the champion, %s, cannot be measured: %s", champion.name, trouble)
        return {**known, "reason": "its files are missing, were altered, or do not score any more"}
    rows = [row for row in faces if (row["image_id"], row["face"]) in predicted]
    if not rows:
        return {**known, "reason": f"the champion has seen every one of the {len(faces)} test faces"}
    theirs = [predicted[row["image_id"], row["face"]] for row in rows]
    comparison = compare_scorers(
        [row["score"] for row in rows],
        [row["predicted"] for row in rows],
        [score for score, _ in theirs],
        groups=[row["group"] for row in rows],
        clusters=[cluster for _, cluster in theirs],
        settings=settings,
    )
    return {**known, "reason": "", "seen": seen, **comparison.to_dict()}


def _unseen_scores(
    champion: CheckpointRef,
    labels: TableRef,
    *,
    store: Store,
    settings: EvaluationSettings,
    compute: ComputeSettings,
) -> tuple[dict[tuple[str, int], tuple[float, str]], int]:
    """(image, face) -> the champion's score and the cluster, of test faces that it has not seen, and how many
    it has."""
    rows = store.tables.read(labels, [*COLUMNS, "face", "cluster"]).to_pylist()
    tested = [row for row in rows if row["split"] == "test"]
    clusters = seen_clusters(chain_of(champion, store=store), tested, labels=labels, store=store)
    unseen = [row for row in tested if row["cluster"] not in clusters]
    scores = score_crops(
        Scorer.load(champion, store=store, compute=compute),
        [row["crop_sha256"] for row in unseen],
        ref=champion,
        store=store,
        batch_size=settings.batch_size,
    )
    found = {
        (row["image_id"], row["face"]): (float(score), row["cluster"])
        for row, score in zip(unseen, np.asarray(scores), strict=True)
    }
    return found, len(tested) - len(unseen)
