"""The seeds of an arm together: the mean of their correlations, with an interval over the test faces."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from selfai_pipeline.evaluation.ablations.outcome import Outcome
from selfai_pipeline.evaluation.bootstrap import Estimate, estimate
from selfai_pipeline.evaluation.correlation import Reals, WeightedStatistic, weighted_pearson

NO_ESTIMATE = Estimate(None, why_no_value="it was not run", why_no_interval="it was not run")


def mean_pearson(outcomes: Sequence[Outcome], annotated: Reals, options: Mapping[str, Any]) -> Estimate:
    """The mean of the seeds' correlations, with an interval over faces."""
    if not outcomes:
        return NO_ESTIMATE
    return estimate(mean_over(outcomes), annotated, np.array(outcomes[0].predicted), **options)


def of_common_seeds(
    first: Sequence[Outcome], second: Sequence[Outcome]
) -> tuple[list[Outcome], list[Outcome]]:
    """The outcomes with those seeds that both have: of others, a difference would be one of seeds too."""
    common = {one.seed for one in first} & {one.seed for one in second}
    ours, theirs = ([one for one in outcomes if one.seed in common] for outcomes in (first, second))
    return ours, theirs


def mean_over(outcomes: Sequence[Outcome]) -> WeightedStatistic:
    """The mean of the seeds' correlations as a statistic of resampled faces."""
    predictions = [np.array(one.predicted) for one in outcomes]

    def mean(truth: Reals, _: Reals, weights: Reals) -> Reals:
        return np.asarray(np.mean([weighted_pearson(truth, one, weights) for one in predictions], axis=0))

    return mean
