"""A scorer beside the champion on the same faces, which neither of them has seen."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from selfai_pipeline.errors import UndefinedMetric
from selfai_pipeline.evaluation.bootstrap import Estimate, estimate
from selfai_pipeline.evaluation.correlation import (
    Reals,
    WeightedStatistic,
    plain,
    weighted_bias,
    weighted_mean_absolute_error,
    weighted_pearson,
)
from selfai_pipeline.evaluation.paired import paired_difference
from selfai_pipeline.evaluation.report import rows_of_test
from selfai_pipeline.evaluation.scoring import score_crops
from selfai_pipeline.evaluation.settings import EvaluationSettings
from selfai_pipeline.release.settings import PromotionSettings
from selfai_pipeline.store import Store
from selfai_pipeline.tables import CheckpointRef, TableRef
from selfai_pipeline.training.provenance import COLUMNS, chain_of, seen_clusters
from selfai_pipeline.training.scorer import Scorer
from selfai_pipeline.training.settings import ComputeSettings

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Pair:
    """A figure of the candidate and of the champion; None where it is not defined, or nobody is champion."""

    candidate: float | None
    champion: float | None = None

    @property
    def gain(self) -> float | None:
        if self.candidate is None or self.champion is None:
            return None
        return self.candidate - self.champion


@dataclass(frozen=True)
class SubgroupComparison:
    """A subgroup on which both were measured; `bias` is model minus crowd, points."""

    group: str
    faces: int
    pearson: Pair
    bias: Pair
    why_not_judged: str = ""


@dataclass(frozen=True)
class Comparison:
    """What a candidate and the champion score on the same test faces.

    Attributes:
        candidate, champion: hashes of the two checkpoints; `champion` is empty where there is none.
        labels: hash of the label table whose test split the faces are of.
        test_faces: faces of that split; `faces` of them are compared, `clusters` of these independent.
        seen_by_candidate, seen_by_champion: faces left out because a stage of that model has learnt from them
            or was chosen by them, in themselves or in another picture of their cluster.
        difference: Pearson of the candidate minus that of the champion, on the same resamples; where there is
            no champion the candidate's Pearson, which stands against that of scoring every face alike, 0.
        subgroups: by name; those with too few faces are not judged, and say so.
    """

    candidate: str
    champion: str
    labels: str
    test_faces: int
    faces: int
    clusters: int
    seen_by_candidate: int
    seen_by_champion: int
    confidence: float
    pearson: Pair
    mean_absolute_error: Pair
    difference: Estimate
    subgroups: tuple[SubgroupComparison, ...] = ()
    ungrouped_faces: int = 0
    rows: tuple[Row, ...] = field(default=(), repr=False, compare=False)

    def to_facts(self) -> dict[str, Any]:
        """All figures as JSON values, without the rows."""
        values = asdict(self)
        del values["rows"]
        return values

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "Comparison":
        """The comparison that `to_facts` gave, without its rows."""
        groups = tuple(
            SubgroupComparison(**{**one, "pearson": Pair(**one["pearson"]), "bias": Pair(**one["bias"])})
            for one in facts["subgroups"]
        )
        return cls(
            **{
                **facts,
                "pearson": Pair(**facts["pearson"]),
                "mean_absolute_error": Pair(**facts["mean_absolute_error"]),
                "difference": Estimate(**facts["difference"]),
                "subgroups": groups,
            }
        )


def compare(
    candidate: CheckpointRef,
    champion: CheckpointRef | None,
    labels: TableRef,
    *,
    store: Store,
    settings: PromotionSettings,
    compute: ComputeSettings,
) -> Comparison:
    """Measure both on the test faces of `labels` that neither has seen.

    Raises:
        InputError: there are no test faces, or a scorer gives a face no finite score.
        MissingVersion, AlteredVersion: a checkpoint, a crop or a label table is missing or was altered.
    """
    columns = [*COLUMNS, "face", "score", "cluster", "group"]
    tested = rows_of_test(store.tables.read(labels, columns).to_pylist(), labels=labels)
    seen = {
        name: seen_clusters(chain_of(ref, store=store), tested, labels=labels, store=store)
        for name, ref in (("candidate", candidate), ("champion", champion))
        if ref is not None
    }
    rows = [row for row in tested if not any(row["cluster"] in clusters for clusters in seen.values())]
    left_out = {name: sum(row["cluster"] in found for row in tested) for name, found in seen.items()}
    scores = {
        name: score_crops(
            Scorer.load(ref, store=store, compute=compute),
            [row["crop_sha256"] for row in rows],
            ref=ref,
            store=store,
            batch_size=settings.batch_size,
        )
        for name, ref in (("candidate", candidate), ("champion", champion))
        if ref is not None
    }
    return compared(
        rows,
        scores["candidate"],
        scores.get("champion"),
        settings=settings,
        hashes=(candidate.sha256, champion.sha256 if champion else "", labels.sha256),
        test_faces=len(tested),
        seen=(left_out["candidate"], left_out.get("champion", 0)),
    )


def compared(
    rows: Sequence[Row],
    candidate: Reals,
    champion: Reals | None,
    *,
    settings: PromotionSettings,
    hashes: tuple[str, str, str],
    test_faces: int | None = None,
    seen: tuple[int, int] = (0, 0),
) -> Comparison:
    """The figures over faces that both have scored.

    Args:
        rows: `score`, `cluster`, `group` of each face, and what names it.
        candidate, champion: scores [n].
        hashes: of the candidate, the champion and the label table.
        test_faces: how many there were; default: all are compared.
        seen: how many of these the candidate and the champion have seen.

    Raises:
        ValueError: a champion is named without scores, or has scores without a name.
    """
    if bool(hashes[1]) != (champion is not None):
        raise ValueError("the champion has a hash and scores, or neither")
    annotated = np.array([row["score"] for row in rows], np.float64)
    clusters = [row["cluster"] for row in rows]
    difference = _difference(
        annotated, candidate, champion, clusters=clusters, settings=_interval_settings(settings)
    )
    names = [row["group"] or "" for row in rows]
    counts = Counter(name for name in names if name)
    mask = np.array(names, dtype=object)
    return Comparison(
        *hashes,
        test_faces=len(rows) if test_faces is None else test_faces,
        faces=len(rows),
        clusters=len(set(clusters)),
        seen_by_candidate=seen[0],
        seen_by_champion=seen[1],
        confidence=settings.confidence,
        pearson=_pair(weighted_pearson, annotated, candidate, champion, correlation=True),
        mean_absolute_error=_pair(weighted_mean_absolute_error, annotated, candidate, champion),
        difference=difference,
        subgroups=tuple(
            _subgroup(name, mask == name, annotated, candidate, champion, settings) for name in sorted(counts)
        ),
        ungrouped_faces=names.count(""),
        rows=tuple(
            {
                **{key: row[key] for key in ("image_id", "face", "crop_sha256", "score", "group")},
                "candidate": float(candidate[number]),
                "champion": None if champion is None else float(champion[number]),
            }
            for number, row in enumerate(rows)
        ),
    )


def _difference(annotated: Reals, candidate: Reals, champion: Reals | None, **options: Any) -> Estimate:
    """Pearson of the candidate minus that of the champion; of the candidate alone where there is none."""
    if champion is None:
        return estimate(weighted_pearson, annotated, candidate, correlation=True, **options)
    return paired_difference(weighted_pearson, annotated, candidate, champion, correlation=True, **options)


def _interval_settings(settings: PromotionSettings) -> EvaluationSettings:
    return EvaluationSettings(
        confidence=settings.confidence,
        bootstrap_draws=settings.bootstrap_draws,
        interval_method=settings.interval_method,
        seed=settings.seed,
        interval_least_faces=settings.least_faces,
    )


def _pair(
    statistic: WeightedStatistic,
    annotated: Reals,
    candidate: Reals,
    champion: Reals | None,
    *,
    correlation: bool = False,
) -> Pair:
    def value(predicted: Reals | None) -> float | None:
        try:
            return (
                None if predicted is None else plain(statistic, annotated, predicted, correlation=correlation)
            )
        except UndefinedMetric:
            return None

    return Pair(value(candidate), value(champion))


def _subgroup(
    group: str,
    inside: Any,
    annotated: Reals,
    candidate: Reals,
    champion: Reals | None,
    settings: PromotionSettings,
) -> SubgroupComparison:
    faces = int(inside.sum())
    truth, own = annotated[inside], candidate[inside]
    other = None if champion is None else champion[inside]
    pearson = _pair(weighted_pearson, truth, own, other, correlation=True)
    why_not = ""
    if faces < settings.subgroup_least_faces:
        why_not = f"{faces} faces, {settings.subgroup_least_faces} are needed"
    elif champion is not None and pearson.gain is None:
        why_not = "its correlation is not defined"
    return SubgroupComparison(
        group, faces, pearson, _pair(weighted_bias, truth, own, other), why_not_judged=why_not
    )
