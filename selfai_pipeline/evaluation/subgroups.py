"""The same figures for each subgroup, where there are enough faces to say something."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from selfai_pipeline.evaluation.bootstrap import Estimate, estimate
from selfai_pipeline.evaluation.correlation import (
    Reals,
    weighted_bias,
    weighted_mean_absolute_error,
    weighted_pearson,
)
from selfai_pipeline.evaluation.coverage import covers, share_covered
from selfai_pipeline.evaluation.settings import EvaluationSettings
from selfai_pipeline.training.conformal import Intervals


@dataclass(frozen=True)
class Grouped:
    """Rows of each group with enough faces, by name, and how many faces and groups are in no such group.

    `ungrouped_faces` belong to no group; `small_groups` hold `small_groups_faces` faces together.
    """

    large: Mapping[str, npt.NDArray[np.int64]]
    small_groups: int
    small_groups_faces: int
    ungrouped_faces: int


def grouped(groups: Sequence[str | None], *, least_faces: int) -> Grouped:
    """Which faces are in which group of `least_faces` or more.

    Args:
        groups: name of the group of each face; None or empty: none.
    """
    names = np.array([group or "" for group in groups], dtype=object)
    counts = Counter(names.tolist())
    ungrouped = counts.pop("", 0)
    large = sorted(name for name, faces in counts.items() if faces >= least_faces)
    small = [faces for name, faces in counts.items() if faces < least_faces]
    rows = {name: np.flatnonzero(names == name) for name in large}
    return Grouped(rows, len(small), sum(small), ungrouped)


@dataclass(frozen=True)
class Subgroup:
    """Figures of the test faces of one group.

    `bias` is predicted minus annotated, points; `covered` the share of faces inside their intervals.
    """

    group: str
    faces: int
    pearson: Estimate
    bias: Estimate
    mean_absolute_error: Estimate
    covered: Estimate


@dataclass(frozen=True)
class Subgroups:
    """Groups that are large enough, by name, and how many faces and groups are not shown, as in `Grouped`."""

    shown: list[Subgroup]
    small_groups: int
    small_groups_faces: int
    ungrouped_faces: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def subgroups(
    annotated: Reals,
    predicted: Reals,
    groups: Sequence[str | None],
    *,
    intervals: Intervals,
    clusters: Sequence[str],
    settings: EvaluationSettings,
) -> Subgroups:
    """Correlation, errors and coverage within each group of `subgroup_least_faces` faces or more.

    Args:
        annotated: the crowd's scores, [n].
        predicted: the model's scores, [n].
        groups: name of the group of each face; None or empty: none.
        clusters: faces that share one are resampled together, [n].
    """
    units = np.asarray(clusters)
    split = grouped(groups, least_faces=settings.subgroup_least_faces)
    shown = []
    for name, rows in split.large.items():
        truth, guess = annotated[rows], predicted[rows]
        options: dict[str, Any] = {"clusters": units[rows], "settings": settings}
        shown.append(
            Subgroup(
                group=name,
                faces=len(rows),
                pearson=estimate(weighted_pearson, truth, guess, correlation=True, **options),
                bias=estimate(weighted_bias, truth, guess, **options),
                mean_absolute_error=estimate(weighted_mean_absolute_error, truth, guess, **options),
                covered=share_covered(
                    covers(truth, guess, intervals=intervals),
                    units[rows],
                    reason=intervals.level().reason,
                    settings=settings,
                ),
            )
        )
    return Subgroups(shown, split.small_groups, split.small_groups_faces, split.ungrouped_faces)
