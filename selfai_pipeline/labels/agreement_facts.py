"""All figures of agreement among single ratings, each with the reason where it has no value."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from selfai_pipeline.errors import UndefinedMetric
from selfai_pipeline.labels.agreement import split_half_reliability, two_raters_correlation
from selfai_pipeline.labels.annotators_agreement import (
    TwoWay,
    krippendorff_alpha,
    rater_against_rest,
    two_way_components,
)
from selfai_pipeline.labels.bias_equations import Codes, Numbers
from selfai_pipeline.labels.group_agreement import group_agreement

MEASURES = {
    "two_raters_correlation": "two random annotators, ICC(1,1)",
    "icc_2_1": "two random annotators, ICC(2,1)",
    "icc_2_k": "means of a picture's ratings, ICC(2,k)",
    "krippendorff_alpha": "Krippendorff's alpha, interval",
    "split_half_reliability": "two halves of the ratings, by Spearman-Brown",
    "rater_against_rest": "an annotator and the mean of all others, median",
}
"""Names of the figures, and what each compares."""

LEAST_FOR_REST = 10
"""Pictures that an annotator has to share with others to be compared with them."""


def agreement_facts(
    picture: Codes, annotator: Codes, rating: Numbers, *, group: Codes, names: list[str]
) -> dict[str, Any]:
    """The figures of `MEASURES`, each with a `..._reason`, and those of groups where some are known.

    `rater_against_rest_annotators` counts those who were compared, `rater_against_rest_range` holds the 5 and
    95 % of them. `agreement_by_group` is that of `group_agreement`, with the number of annotators whose group
    is not known.

    Args:
        picture, annotator: int64 [n], codes from 0, each present; n can be 0.
        rating: float64 [n].
        group, names: see `group_agreement`.
    """
    rest: list[float] = []

    @cache
    def parts() -> TwoWay:
        return two_way_components(picture, annotator, rating)

    def against_rest() -> float:
        rest.extend(rater_against_rest(picture, annotator, rating, least_ratings=LEAST_FOR_REST).tolist())
        return float(np.median(rest))

    ways: dict[str, Callable[[], float]] = {
        "two_raters_correlation": lambda: two_raters_correlation(picture, rating),
        "icc_2_1": lambda: parts().single,
        "icc_2_k": lambda: parts().average,
        "krippendorff_alpha": lambda: krippendorff_alpha(picture, rating),
        "split_half_reliability": lambda: split_half_reliability(picture, rating),
        "rater_against_rest": against_rest,
    }
    facts: dict[str, Any] = {}
    for name in MEASURES:
        facts[name], facts[f"{name}_reason"] = None, "there are no single ratings"
        if len(rating):
            try:
                facts[name], facts[f"{name}_reason"] = ways[name](), None
            except UndefinedMetric as undefined:
                facts[f"{name}_reason"] = str(undefined)
    facts["rater_against_rest_annotators"] = len(rest)
    facts["rater_against_rest_range"] = np.quantile(rest, [0.05, 0.95]).tolist() if rest else None
    if names:
        found = group_agreement(picture, annotator, rating, group=group, names=names)
        unknown = len(np.unique(annotator[group < 0]))
        facts["agreement_by_group"] = {**found, "annotators_without_group": unknown}
    return facts
