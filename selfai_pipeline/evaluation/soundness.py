"""Independent checks of an evaluation: against the label table, and by scoring faces again."""

from typing import Any

import numpy as np

from selfai_pipeline.evaluation.scoring import score_crops
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, CheckpointRef, TableRef, differing
from selfai_pipeline.training.scorer import Scorer
from selfai_pipeline.training.settings import ComputeSettings

SCORED_AGAIN = 64
BATCH = 16


def faces_without_score(evaluation: TableRef, *, store: Store) -> int:
    """Faces that are in the evaluation or in the test split of its label table, but not in both.

    Raises:
        MissingVersion, AlteredVersion: one of the two tables is not as it was.
    """
    labels = store.tables.find("balanced_label_table", WHOLE, store.tables.facts(evaluation)["labels"])
    rows = store.tables.read(labels, ["image_id", "face", "split"]).to_pylist()
    scored = store.tables.read(evaluation, ["image_id", "face"]).to_pylist()
    return differing((_face(row) for row in rows if row["split"] == "test"), map(_face, scored))


def largest_difference(evaluation: TableRef, *, store: Store, compute: ComputeSettings) -> float:
    """Points by which up to 64 faces, spread over the table, differ when the stored scorer scores them again.

    Raises:
        InputError: the scorer gives a face no finite score.
        MissingVersion, AlteredVersion: the table, the scorer or a crop is not as it was.
    """
    rows = store.tables.read(evaluation, ["crop_sha256", "predicted"]).to_pylist()
    again = rows[:: -(-len(rows) // SCORED_AGAIN)]
    ref = CheckpointRef("finetuned_scorer", WHOLE, store.tables.facts(evaluation)["scorer"], rows=0)
    scores = score_crops(
        Scorer.load(ref, store=store, compute=compute),
        [row["crop_sha256"] for row in again],
        ref=ref,
        store=store,
        batch_size=BATCH,
    )
    return float(np.abs(scores - np.array([row["predicted"] for row in again])).max())


def _face(row: dict[str, Any]) -> tuple[str, int]:
    return str(row["image_id"]), int(row["face"])
