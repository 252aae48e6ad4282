"""All figures of the test split as one JSON-ready mapping: what the report shows and checks read."""

from collections.abc import Mapping, Sequence
from typing import Any

from selfai_pipeline.evaluation.bootstrap import Estimate, estimate
from selfai_pipeline.evaluation.calibration import calibration_facts
from selfai_pipeline.evaluation.correlation import (
    Reals,
    weighted_bias,
    weighted_mean_absolute_error,
    weighted_pearson,
    weighted_root_mean_square_error,
    weighted_spearman,
)
from selfai_pipeline.evaluation.coverage import coverage_facts
from selfai_pipeline.evaluation.settings import EvaluationSettings
from selfai_pipeline.evaluation.subgroups import subgroups
from selfai_pipeline.labels.agreement import ceiling_facts
from selfai_pipeline.training.conformal import Intervals


def figures_of(
    annotated: Reals,
    predicted: Reals,
    *,
    groups: Sequence[str | None],
    clusters: Sequence[str],
    standard_errors: Sequence[float | None],
    label_facts: Mapping[str, Any],
    intervals: Intervals,
    settings: EvaluationSettings,
) -> dict[str, Any]:
    """Figures of the test faces; each is an `Estimate` as a mapping unless said otherwise.

    Keys: `faces`, `clusters` (counts); `pearson`, `spearman`; `mean_absolute_error`,
    `root_mean_square_error`, `bias` (predicted minus annotated), in points; `noise_ceiling` of these faces (a
    number, or None) and `noise_ceiling_reason`; `noise_ceiling_of_all`, that of the whole label table;
    `share_of_ceiling`; `intervals`, how many faces the scorer's intervals cover (see `coverage_facts`);
    `calibration` (see `calibration_facts`); `subgroups`; `confidence`.

    Args:
        annotated: the crowd's scores, [n].
        predicted: the model's scores, [n].
        groups: subgroup of each face, where it has one.
        clusters: faces that share one are resampled together, [n].
        standard_errors: of the crowd's scores, [n], None where not known. A given test split may be spread
            more or less than the whole table, so it has a noise ceiling of its own.
        label_facts: of the label table.
        intervals: the scorer's.
    """

    def over_all_faces(statistic: Any, *, correlation: bool = False) -> Estimate:
        return estimate(
            statistic, annotated, predicted, clusters=clusters, correlation=correlation, settings=settings
        )

    pearson = over_all_faces(weighted_pearson, correlation=True)
    own = ceiling_facts(
        annotated,
        standard_errors,
        has_single_ratings=bool(label_facts.get("ratings")),
    )
    ceiling: float | None = own["noise_ceiling"]
    return {
        "faces": len(annotated),
        "clusters": len(set(clusters)),
        "confidence": settings.confidence,
        "pearson": pearson.to_dict(),
        "spearman": over_all_faces(weighted_spearman, correlation=True).to_dict(),
        "mean_absolute_error": over_all_faces(weighted_mean_absolute_error).to_dict(),
        "root_mean_square_error": over_all_faces(weighted_root_mean_square_error).to_dict(),
        "bias": over_all_faces(weighted_bias).to_dict(),
        "noise_ceiling": ceiling,
        "noise_ceiling_reason": own["noise_ceiling_reason"],
        "noise_ceiling_of_all": label_facts.get("noise_ceiling"),
        "share_of_ceiling": share_of_ceiling(pearson, ceiling).to_dict(),
        "intervals": coverage_facts(
            annotated, predicted, intervals=intervals, clusters=clusters, settings=settings
        ),
        "calibration": calibration_facts(annotated, predicted, clusters=clusters, settings=settings),
        "subgroups": subgroups(
            annotated, predicted, groups, intervals=intervals, clusters=clusters, settings=settings
        ).to_dict(),
    }


def share_of_ceiling(pearson: Estimate, ceiling: float | None) -> Estimate:
    """Pearson's correlation and its interval as a share of the noise ceiling, which counts as known."""
    if pearson.value is None:
        return pearson
    if not ceiling:
        reason = "the noise ceiling is not known" if ceiling is None else "the noise ceiling is 0"
        return Estimate(None, why_no_value=reason, why_no_interval=reason)
    return Estimate(
        pearson.value / ceiling,
        None if pearson.low is None else pearson.low / ceiling,
        None if pearson.high is None else pearson.high / ceiling,
        why_no_interval=pearson.why_no_interval,
    )
