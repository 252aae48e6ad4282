"""How scores and quality move from crawl day to crawl day.

The days are those whose faces the label table was made from, as its record names them; of each, faces are
scored whether they were rated or not.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import ttest_ind

from selfai_pipeline.errors import MissingVersion
from selfai_pipeline.evaluation.scoring import score_crops
from selfai_pipeline.evaluation.settings import EvaluationSettings
from selfai_pipeline.store import Store
from selfai_pipeline.tables import CheckpointRef, Record, TableRef
from selfai_pipeline.training.scorer import Scorer

CHANCE = 0.001
"""How rarely chance alone may make a day look different."""

LEAST_SHIFT = 0.3
"""Standard deviations of a face's score by which the mean of a day has to differ to be worth a look."""

FEW = 15
"""Faces below which nothing is said of a day."""

Row = Mapping[str, Any]

MEASURES = {
    "brightness": "brightness of the picture (mean luma, 0 to 255)",
    "blur": "sharpness of the picture (variance of the Laplacian)",
    "sharpness": "sharpness of the face (variance of the Laplacian)",
    "detection_score": "certainty of the face detector (0 to 1)",
}
"""Quality measures that are followed, and what they are in words."""


@dataclass(frozen=True)
class Day:
    """One crawl day.

    Attributes:
        pictures, kept, faces: pictures that were pruned, those that were kept, aligned faces.
        scored: faces that the model scored for this page; `mean` and `deviation` are of these scores, points.
        rated: faces of the label table; `crowd` is the mean of their scores, points.
        shift: `mean` minus that of all other days, in standard deviations of a face's score; None where one
            of the two has too few faces.
        unusual: whether the shift is worth a look, and more than chance explains.
        quality: median of each of `MEASURES` where there are values.
    """

    day: str
    pictures: int
    kept: int
    faces: int
    scored: int
    mean: float | None
    deviation: float | None
    rated: int
    crowd: float | None
    shift: float | None
    unusual: bool
    quality: Mapping[str, float]


@dataclass(frozen=True)
class Drift:
    """Crawl days in their order, or the reason why there are none.

    `earlier_days` came before those that are shown; `missing_days` are not in the store any more;
    `made_from` has the version of `aligned_faces` by day.
    """

    days: list[Day]
    reason: str = ""
    earlier_days: int = 0
    missing_days: int = 0
    made_from: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class _Measured:
    """What is known of a day before days are compared."""

    pictures: int
    kept: int
    faces: int
    scores: npt.NDArray[np.float64]
    quality: Mapping[str, float]


def drift_of(
    labels: TableRef,
    *,
    scorer: Scorer,
    ref: CheckpointRef,
    store: Store,
    settings: EvaluationSettings,
) -> Drift:
    """The last `drift_days` days behind a label table, `drift_faces` faces of each scored by the model.

    Raises:
        InputError: a score is not finite.
        MissingVersion, AlteredVersion: a crop is missing, a crop or a table was altered.
    """
    if not settings.drift_days or not settings.drift_faces:
        return Drift([], reason="it is switched off (drift_days or drift_faces is 0)")
    record = _record_of(labels, store)
    behind = dict(sorted(record.inputs.get("aligned_faces", {}).items())) if record else {}
    if not behind:
        return Drift([], reason="no record names the crawl days that the label table was made from")
    shown = list(behind)[-settings.drift_days :]
    measured: dict[str, _Measured] = {}
    for day in shown:
        try:
            faces, pictures = _rows_of(day, behind[day], store)
        except MissingVersion:
            continue
        measured[day] = _measure(faces, pictures, scorer=scorer, ref=ref, store=store, settings=settings)
    rated = store.tables.read(labels, ["partition", "score"]).to_pylist()
    by_day: dict[str, list[float]] = defaultdict(list)
    for row in rated:
        by_day[row["partition"]].append(row["score"])
    return Drift(
        compare_days(measured, by_day),
        reason="" if measured else "none of the days is in the store any more",
        earlier_days=len(behind) - len(shown),
        missing_days=len(shown) - len(measured),
        made_from={day: behind[day] for day in measured},
    )


def compare_days(measured: Mapping[str, _Measured], rated: Mapping[str, Sequence[float]]) -> list[Day]:
    """Each day beside all others; `rated` has the crowd's scores by day."""
    days = []
    for day, found in measured.items():
        others = [one.scores for other, one in measured.items() if other != day]
        shift, chance = shift_of(found.scores, np.concatenate([*others, np.empty(0)]))
        crowd = rated.get(day, [])
        days.append(
            Day(
                day=day,
                pictures=found.pictures,
                kept=found.kept,
                faces=found.faces,
                scored=len(found.scores),
                mean=float(found.scores.mean()) if len(found.scores) else None,
                deviation=float(found.scores.std(ddof=1)) if len(found.scores) > 1 else None,
                rated=len(crowd),
                crowd=float(np.mean(crowd)) if crowd else None,
                shift=shift,
                unusual=shift is not None and abs(shift) >= LEAST_SHIFT and chance < CHANCE / len(measured),
                quality=dict(found.quality),
            )
        )
    return days


def shift_of(day: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> tuple[float | None, float]:
    """Mean of a day minus that of the others in standard deviations, and how rarely chance does as much.

    Welch's test (1947, Biometrika 34). The shift is None, the chance 1, where one of the two has too few.
    """
    if min(len(day), len(others)) < FEW:
        return None, 1.0
    spread = float(np.sqrt((day.var(ddof=1) + others.var(ddof=1)) / 2))
    if spread < 1e-9:
        return None, 1.0
    chance = float(ttest_ind(day, others, equal_var=False).pvalue)
    return float(day.mean() - others.mean()) / spread, chance


def _record_of(labels: TableRef, store: Store) -> Record | None:
    """What the label table was made from: the last time, where it is the current one."""
    current = store.tables.current(labels.asset, labels.partition)
    if current is not None and current.ref.sha256 == labels.sha256:
        return current
    known = [
        one for one in store.tables.records(labels.asset, labels.partition) if one.ref.sha256 == labels.sha256
    ]
    return min(known, key=Record.to_json, default=None)


def _rows_of(day: str, sha256: str, store: Store) -> tuple[list[Row], list[Row]]:
    """The faces of a version of `aligned_faces`, and the pruned pictures that its record names: none without.

    Raises:
        MissingVersion: one of the two is not in the store any more.
    """
    ref = store.tables.find("aligned_faces", day, sha256)
    faces = store.tables.read(ref, ["crop_sha256", "sharpness", "detection_score"]).to_pylist()
    record = _record_of(ref, store)
    pruned = record.inputs.get("pruned_set", {}).get(day) if record else None
    if not pruned:
        return faces, []
    found = store.tables.find("pruned_set", day, pruned)
    return faces, store.tables.read(found, ["kept", "brightness", "blur"]).to_pylist()


def _measure(
    faces: Sequence[Row],
    pictures: Sequence[Row],
    *,
    scorer: Scorer,
    ref: CheckpointRef,
    store: Store,
    settings: EvaluationSettings,
) -> _Measured:
    aligned = [row for row in faces if row["crop_sha256"] is not None]
    # A hash says nothing about a picture: those with the lowest are a sample, and the same one next time.
    crops = sorted({row["crop_sha256"] for row in aligned})[: settings.drift_faces]
    kept = [row for row in pictures if row["kept"]]
    quality = {
        "brightness": [row["brightness"] for row in kept],
        "blur": [row["blur"] for row in kept],
        "sharpness": [row["sharpness"] for row in aligned],
        "detection_score": [row["detection_score"] for row in aligned],
    }
    return _Measured(
        pictures=len(pictures),
        kept=len(kept),
        faces=len(aligned),
        scores=score_crops(scorer, crops, ref=ref, store=store, batch_size=settings.batch_size),
        quality={name: median for name, values in quality.items() if (median := _median(values)) is not None},
    )


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and np.isfinite(value)]
    return float(np.median(known)) if known else None
