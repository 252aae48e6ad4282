"""What holds for assets by selection: what is tried again, and how fresh each stage has to be.

That GPU work runs one at a time, and that a lost run is tried again, stands in `dagster.yaml`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta

import dagster as dg

from selfai_pipeline.environment import Environment
from selfai_pipeline.errors import PassingTrouble

RETRIES = dg.RetryPolicy(max_retries=3, delay=10, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.FULL)
"""At most 10, 30 and 70 seconds between tries, each drawn from zero on, so that steps that failed together
do not come back together."""

FRESHNESS: Sequence[tuple[dg.AssetSelection, dg.FreshnessPolicy]] = [
    (
        dg.AssetSelection.groups("data"),
        dg.FreshnessPolicy.time_window(warn_window=timedelta(hours=26), fail_window=timedelta(hours=50)),
    ),
]
"""The daily stages: a warning soon after one run was missed, a failure after two. What is made of all days
has none: where no rating changed, labels, models and report rightly stay as old as they are."""


def with_policies(
    assets: Sequence[dg.AssetsDefinition], environment: Environment
) -> Sequence[dg.AssetsDefinition]:
    """The assets with the policies of an environment; the sample is made once, and need not be fresh."""
    if environment is Environment.SAMPLE:
        return assets
    windows: Mapping[dg.AssetKey, dg.FreshnessPolicy] = {
        key: policy for selection, policy in FRESHNESS for key in selection.resolve(assets)
    }
    return dg.map_asset_specs(
        lambda spec: spec.replace_attributes(freshness_policy=windows.get(spec.key)), assets
    )


def may_retry(context: dg.AssetExecutionContext) -> bool:
    """Whether a crawl that meets passing trouble now is tried again."""
    return bool(context.retry_number < RETRIES.max_retries)


@contextmanager
def retries(context: dg.AssetExecutionContext) -> Iterator[None]:
    """Asks for the step to be tried again where its trouble may pass; every other error fails it at once.

    A policy on the asset itself would retry every error. It would start a step that is being canceled again
    as well, and the run would go on (Dagster 1.13).
    """
    try:
        yield
    except PassingTrouble as trouble:
        raise dg.RetryRequested(
            max_retries=RETRIES.max_retries,
            seconds_to_wait=RETRIES.calculate_delay(context.retry_number + 1),
        ) from trouble
