"""The same figures for each subgroup, where there are enough faces to say something."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from selfai_pipeline.evaluation.bootstrap import Estimate, estimate
from selfai_pipeline.evaluation.correlation import Reals, weighted_bias, weighted_pearson
from selfai_pipeline.evaluation.settings import EvaluationSettings


@dataclass(frozen=True)
class Subgroup:
    """Figures of the test faces of one group; `bias` is predicted minus annotated, points."""

    group: str
    faces: int
    pearson: Estimate
    bias: Estimate


@dataclass(frozen=True)
class Subgroups:
    """Groups that are large enough, by name, and how many faces and groups are not shown.

    `ungrouped_faces` belong to no group; `small_groups` hold `small_groups_faces` faces together.
    """

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
    clusters: Sequence[str],
    settings: EvaluationSettings,
) -> Subgroups:
    """Correlation and bias within each group of `subgroup_least_faces` faces or more.

    Args:
        annotated: the crowd's scores, [n].
        predicted: the model's scores, [n].
        groups: name of the group of each face; None or empty: none.
        clusters: faces that share one are resampled together, [n].
    """
    names = np.array([group or "" for group in groups], dtype=object)
    counts = Counter(names.tolist())
    ungrouped = counts.pop("", 0)
    large = sorted(name for name, faces in counts.items() if faces >= settings.subgroup_least_faces)
    units = np.asarray(clusters)
    shown = []
    for name in large:
        inside = names == name
        truth, guess, own = annotated[inside], predicted[inside], units[inside]
        shown.append(
            Subgroup(
                group=name,
                faces=int(inside.sum()),
                pearson=estimate(
                    weighted_pearson, truth, guess, clusters=own, correlation=True, settings=settings
                ),
                bias=estimate(weighted_bias, truth, guess, clusters=own, settings=settings),
            )
        )
    small = {name: faces for name, faces in counts.items() if name not in large}
    return Subgroups(shown, len(small), sum(small.values()), ungrouped)
