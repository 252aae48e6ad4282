"""Two scorers on the same faces: differences whose intervals come from the same resamples for both."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from selfai_pipeline.errors import UndefinedMetric
from selfai_pipeline.evaluation.bootstrap import Estimate, estimate
from selfai_pipeline.evaluation.correlation import (
    Reals,
    WeightedStatistic,
    paired,
    plain,
    weighted_mean_absolute_error,
    weighted_pearson,
)
from selfai_pipeline.evaluation.settings import EvaluationSettings
from selfai_pipeline.evaluation.subgroups import grouped


def minus(first: WeightedStatistic, second: WeightedStatistic) -> WeightedStatistic:
    """`first` minus `second`, each resample measured by both."""

    def between(truth: Reals, guess: Reals, weights: Reals) -> Reals:
        return np.asarray(first(truth, guess, weights) - second(truth, guess, weights))

    return between


def of_scores(statistic: WeightedStatistic, scores: Reals) -> WeightedStatistic:
    """`statistic` of these scores [n], whatever scores it is called with."""

    def fixed(truth: Reals, _: Reals, weights: Reals) -> Reals:
        return statistic(truth, scores, weights)

    return fixed


def paired_difference(
    statistic: WeightedStatistic,
    annotated: npt.ArrayLike,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    clusters: npt.ArrayLike | None = None,
    correlation: bool = False,
    settings: EvaluationSettings,
) -> Estimate:
    """The statistic of `first` minus that of `second`, with its interval, each or the reason for none.

    Faces are drawn once for both: what makes a face hard for one mostly makes it hard for the other, so that
    the interval is narrower than those of the two figures suggest.

    Args:
        annotated: the crowd's scores, [n].
        first, second: the two scorers' scores of the same faces, [n] each.
        clusters: a label a face, [n]; faces that share one are drawn together.
        correlation: whether the statistic needs scores that differ.

    Raises:
        ValueError: lengths differ, or a score is not finite.
    """
    truth, one = paired(annotated, first)
    _, other = paired(annotated, second)
    try:
        plain(statistic, truth, other, correlation=correlation)
    except UndefinedMetric as reason:
        return Estimate(None, why_no_value=str(reason), why_no_interval=str(reason))
    return estimate(
        minus(statistic, of_scores(statistic, other)),
        truth,
        one,
        clusters=clusters,
        correlation=correlation,
        settings=settings,
    )


@dataclass(frozen=True)
class GroupDifference:
    """The two scorers within one group."""

    group: str
    faces: int
    pearson: Estimate
    mean_absolute_error: Estimate


@dataclass(frozen=True)
class Comparison:
    """A candidate minus a champion on the same faces: above 0 its correlation is higher, its error larger.

    `groups` are those with enough faces, by name; `small_groups_faces` are in the `small_groups` others.
    """

    faces: int
    clusters: int
    pearson: Estimate
    mean_absolute_error: Estimate
    groups: list[GroupDifference]
    small_groups: int
    small_groups_faces: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare_scorers(
    annotated: npt.ArrayLike,
    candidate: npt.ArrayLike,
    champion: npt.ArrayLike,
    *,
    groups: Sequence[str | None],
    clusters: Sequence[str],
    settings: EvaluationSettings,
) -> Comparison:
    """Two scorers on the same faces, over all of them and within each group of `subgroup_least_faces`.

    Args:
        annotated: the crowd's scores, [n].
        candidate, champion: their scores of the same faces in the same order, [n] each.
        groups: name of the group of each face; None or empty: none.
        clusters: faces that share one are resampled together, [n].

    Raises:
        ValueError: lengths differ, or a score is not finite.
    """
    truth, new = paired(annotated, candidate)
    _, old = paired(annotated, champion)
    units = np.asarray(clusters)

    def differences(rows: npt.NDArray[Any]) -> tuple[Estimate, Estimate]:
        faces = truth[rows], new[rows], old[rows]
        options: dict[str, Any] = {"clusters": units[rows], "settings": settings}
        return (
            paired_difference(weighted_pearson, *faces, correlation=True, **options),
            paired_difference(weighted_mean_absolute_error, *faces, **options),
        )

    split = grouped(groups, least_faces=settings.subgroup_least_faces)
    return Comparison(
        len(truth),
        len(np.unique(units)),
        *differences(np.arange(len(truth))),
        groups=[GroupDifference(name, len(rows), *differences(rows)) for name, rows in split.large.items()],
        small_groups=split.small_groups,
        small_groups_faces=split.small_groups_faces,
    )
