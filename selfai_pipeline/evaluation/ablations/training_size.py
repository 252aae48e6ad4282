"""Correlation against the number of training faces, from the arms that learn from a share of them."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from selfai_pipeline.evaluation.ablations.arms import ARMS, SHARES, WHOLE_METHOD
from selfai_pipeline.evaluation.ablations.outcome import Outcome, State, made_alike, read_outcomes
from selfai_pipeline.evaluation.ablations.seeds import mean_over, mean_pearson, of_common_seeds
from selfai_pipeline.evaluation.ablations.subsets import in_share
from selfai_pipeline.evaluation.bootstrap import Estimate, estimate
from selfai_pipeline.evaluation.paired import minus
from selfai_pipeline.evaluation.settings import EvaluationSettings
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Snapshot, TableRef


@dataclass(frozen=True)
class Size:
    """The whole method on a share of the training faces; `pearson` is the mean over seeds."""

    share: float
    faces: int
    seeds: int
    pearson: Estimate
    deviation: float | None


@dataclass(frozen=True)
class TrainingSize:
    """Correlations by the number of training faces, the fewest first.

    Attributes:
        sizes: shares that were run on this label table; a curve needs two.
        missing: arms that were not, by name.
        last_doubling: Pearson with all faces minus Pearson with half of them, over the seeds that both have;
            None where there is none.
        made_from: hashes of the outcomes by arm.
    """

    sizes: list[Size]
    missing: list[str]
    last_doubling: Estimate | None
    made_from: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def training_size(
    runs: Snapshot, labels: TableRef, *, store: Store, settings: EvaluationSettings
) -> TrainingSize:
    """The curve of those runs that are of `labels`, and made as the one on all faces; others are missing."""
    columns = ["image_id", "face", "score", "cluster", "class", "split"]
    rows = store.tables.read(labels, columns).to_pylist()
    tested = sorted(
        (row for row in rows if row["split"] == "test"), key=lambda row: (row["image_id"], row["face"])
    )
    train = [row for row in rows if row["split"] == "train"]
    annotated = np.array([row["score"] for row in tested], np.float64)
    options: dict[str, Any] = {"clusters": [row["cluster"] for row in tested], "settings": settings}
    sizes, missing, made_from = [], [], {}
    finished: dict[str, list[Outcome]] = {}
    whole = runs.tables.get(WHOLE_METHOD)
    for arm in (*SHARES, ARMS[WHOLE_METHOD]):
        ref = runs.tables.get(arm.name)
        ended: list[Outcome] = []
        if (
            ref is not None
            and store.tables.facts(ref).get("labels") == labels.sha256
            and made_alike(ref, whole or ref, store=store)
        ):
            ended = [one for one in read_outcomes(ref, store=store) if one.state is State.FINISHED]
        if ref is None or not ended:
            missing.append(arm.name)
            continue
        finished[arm.name], made_from[arm.name] = ended, ref.sha256
        inside = in_share(
            [row["class"] for row in train], [row["image_id"] for row in train], share=arm.share, seed=0
        )
        found = [one.pearson for one in ended if one.pearson is not None]
        deviation = float(np.std(found, ddof=1)) if len(found) > 1 else None
        pearson = mean_pearson(ended, annotated, options)
        sizes.append(Size(arm.share, int(inside.sum()), len(ended), pearson, deviation))
    half = next((arm.name for arm in SHARES if arm.share == 0.5), "")
    last = None
    all_faces, half_of_them = of_common_seeds(finished.get(WHOLE_METHOD, []), finished.get(half, []))
    if all_faces:
        between = minus(mean_over(all_faces), mean_over(half_of_them))
        last = estimate(between, annotated, np.array(all_faces[0].predicted), **options)
    return TrainingSize(sizes, missing, last, made_from)
