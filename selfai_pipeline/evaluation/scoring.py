"""Scores of stored crops."""

import numpy as np

from selfai_pipeline.errors import InputError
from selfai_pipeline.evaluation.correlation import Reals
from selfai_pipeline.evaluation.images import load_crop
from selfai_pipeline.store import Store
from selfai_pipeline.tables import CheckpointRef
from selfai_pipeline.training.scorer import Scorer


def score_crops(
    scorer: Scorer, crops: list[str], *, ref: CheckpointRef, store: Store, batch_size: int
) -> Reals:
    """Scores of stored crops, [n]; crops may differ in size.

    Raises:
        InputError: a score is not finite.
        MissingVersion, AlteredVersion: a crop is missing or was altered.
    """
    predicted = np.empty(len(crops), np.float64)
    with scorer.compute.session():
        for start in range(0, len(crops), batch_size):
            pictures = [load_crop(sha256, store.crops) for sha256 in crops[start : start + batch_size]]
            for side in sorted({picture.shape[0] for picture in pictures}):
                same = [number for number, picture in enumerate(pictures) if picture.shape[0] == side]
                predicted[[start + number for number in same]] = scorer.score(
                    np.stack([pictures[number] for number in same])
                )
    broken = int((~np.isfinite(predicted)).sum())
    if broken:
        raise InputError(
            f"it gives no finite score for {broken} of {len(crops)} test faces",
            where=f"{ref.asset} {ref.sha256[:12]}",
            mend="Train it again, with a lower learning rate.",
        )
    return predicted
