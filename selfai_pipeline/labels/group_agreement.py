"""Whether groups of annotators see the same: agreement within a group, and between two."""

from itertools import combinations
from typing import Any

import numpy as np

from selfai_pipeline.errors import UndefinedMetric
from selfai_pipeline.labels.agreement import one_way_components, two_raters_correlation
from selfai_pipeline.labels.bias_equations import Codes, Numbers

LEAST_PICTURES = 20
"""That two groups have to share: a correlation over fewer says little."""


def group_agreement(
    picture: Codes, annotator: Codes, rating: Numbers, *, group: Codes, names: list[str]
) -> dict[str, list[dict[str, Any]]]:
    """Agreement within each group of annotators and between each two.

    Args:
        picture, annotator: int64 [n], codes from 0.
        rating: float64 [n].
        group: int64 [n], index of `names`; -1 where the annotator's group is not known.

    Returns:
        `groups`: a mapping a group with its `group`, `annotators`, `ratings`, `pictures`, and
        `two_raters_correlation` of two of its annotators. `pairs`: a mapping two groups, see `_between`, with
        their names in `groups`. A figure that cannot be known is None, and `reason` says why; there is none
        of a group with one annotator, as it would be about a person.
    """
    members = [np.flatnonzero(group == code) for code in range(len(names))]
    within = []
    for name, rows in zip(names, members, strict=True):
        entry: dict[str, Any] = {
            "group": name,
            "annotators": len(np.unique(annotator[rows])),
            "ratings": len(rows),
            "pictures": len(np.unique(picture[rows])),
            "two_raters_correlation": None,
            "reason": "it has one annotator",
        }
        if entry["annotators"] > 1:
            try:
                found = two_raters_correlation(_dense(picture[rows]), rating[rows])
                entry.update(two_raters_correlation=found, reason=None)
            except UndefinedMetric as undefined:
                entry["reason"] = str(undefined)
        within.append(entry)
    pairs = []
    for first, second in combinations(range(len(names)), 2):
        both = {"groups": [names[first], names[second]]}
        if min(within[one]["annotators"] for one in (first, second)) < 2:
            pairs.append({**both, **_unknown(0, "one of them has one annotator")})
            continue
        of_each = [members[one] for one in (first, second)]
        pairs.append(
            {**both, **_between([picture[one] for one in of_each], [rating[one] for one in of_each])}
        )
    return {"groups": within, "pairs": pairs}


def _between(pictures: list[Codes], ratings: list[Numbers]) -> dict[str, Any]:
    """How far two groups agree on the pictures that both rated.

    With the covariance c of the groups' means over pictures, and of each group the variance of true scores t
    and that of single ratings v (t and what ratings of one picture differ by; see `one_way_components`):

        two_raters_correlation = c / sqrt(v_1 v_2), one annotator of each group,
        correlation_of_true_scores = c / sqrt(t_1 t_2), that of the groups' means corrected for their
        reliability (Spearman, "The proof and measurement of association between two things", 1904); it can
        come out above 1, where all of the disagreement is noise.

    `mean_difference` is by how many points the first group scores higher.
    """
    shared = np.intersect1d(pictures[0], pictures[1])
    if len(shared) < LEAST_PICTURES:
        return _unknown(len(shared), f"they share {len(shared)} pictures, where {LEAST_PICTURES} are needed")
    means, single, true = [], [], []
    for picture, rating in zip(pictures, ratings, strict=True):
        rows = np.isin(picture, shared)
        codes = _dense(picture[rows])
        means.append(np.bincount(codes, rating[rows]) / np.bincount(codes))
        try:
            parts = one_way_components(codes, rating[rows])
        except UndefinedMetric as undefined:
            return _unknown(len(shared), f"in one of them {undefined}")
        single.append(parts.between + parts.within)
        true.append(parts.between)
    if min(true) <= 0:
        return _unknown(len(shared), "one of them does not agree with itself")
    common = float(np.cov(means[0], means[1])[0, 1])
    return {
        "pictures": len(shared),
        "two_raters_correlation": common / float(np.sqrt(single[0] * single[1])),
        "correlation_of_means": float(np.corrcoef(means[0], means[1])[0, 1]),
        "correlation_of_true_scores": common / float(np.sqrt(true[0] * true[1])),
        "mean_difference": float(np.mean(means[0] - means[1])),
        "reason": None,
    }


def _unknown(pictures: int, reason: str) -> dict[str, Any]:
    names = (
        "two_raters_correlation",
        "correlation_of_means",
        "correlation_of_true_scores",
        "mean_difference",
    )
    return {"pictures": pictures, **dict.fromkeys(names), "reason": reason}


def _dense(codes: Codes) -> Codes:
    return np.unique(codes, return_inverse=True)[1].astype(np.int64)
