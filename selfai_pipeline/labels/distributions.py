"""Whether two sets of scores are distributed alike: splits of one table, or two versions of it."""

from dataclasses import dataclass

import numpy as np

from selfai_pipeline.labels.bias_equations import Numbers

CHANCE = 0.001
"""How rarely chance alone may look like a difference: once in a thousand tables."""

LEAST_SHIFT = 0.1
"""Of the statistic of Kolmogorov and Smirnov: a tenth of the faces lie on the other side of some score."""

LEAST_DRIFT = 0.25
"""Points by which a score moves on average before it is worth a look: a quarter of a class."""

FEW = 20
"""Below so many on either side nothing is said."""


@dataclass(frozen=True)
class Comparison:
    """Whether two sets of scores differ by more than chance explains and by enough to matter; in figures.

    `shift` is the largest difference of the two cumulative distributions (0..1), `distance` the area between
    them in points (Wasserstein's, or the earth mover's), `chance` how likely a shift so large is among scores
    of one kind (Kolmogorov and Smirnov); None where there are too few.
    """

    differs: bool
    shift: float | None
    distance: float | None
    chance: float | None


def compare_splits(
    scores: Numbers, others: Numbers, *, clusters: list[str], other_clusters: list[str]
) -> Comparison:
    """Whether two splits hold faces of differently distributed scores.

    Clusters are drawn, and not faces: near-duplicates and pictures of one person have scores alike, so chance
    is judged over one mean a cluster.
    """
    found = _compare(scores, others)
    if found is None:
        return Comparison(False, None, None, None)
    shift, distance, _ = found
    by_cluster = _compare(_means(scores, clusters), _means(others, other_clusters))
    if by_cluster is None:
        return Comparison(False, shift, distance, None)
    chance = by_cluster[2]
    return Comparison(chance < CHANCE and shift >= LEAST_SHIFT, shift, distance, chance)


def compare_versions(scores: Numbers, before: Numbers) -> Comparison:
    """Whether the scores of a table are distributed otherwise than those of an earlier version.

    The two share faces, most of the time, so that chance makes them differ less than two sets of strangers.
    """
    found = _compare(scores, before)
    if found is None:
        return Comparison(False, None, None, None)
    shift, distance, chance = found
    return Comparison(chance < CHANCE and distance >= LEAST_DRIFT, shift, distance, chance)


def _compare(scores: Numbers, others: Numbers) -> tuple[float, float, float] | None:
    """Shift, distance and chance; None where one side is too few."""
    from scipy.stats import ks_2samp, wasserstein_distance

    if min(len(scores), len(others)) < FEW:
        return None
    test = ks_2samp(scores, others)
    return float(test.statistic), float(wasserstein_distance(scores, others)), float(test.pvalue)


def _means(scores: Numbers, clusters: list[str]) -> Numbers:
    _, code = np.unique(clusters, return_inverse=True)
    return np.asarray(np.bincount(code, scores) / np.bincount(code), dtype=np.float64)
