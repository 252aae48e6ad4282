"""What automation needs of Dagster (1.13) and its public interface lacks: the one place that knows of it."""

import datetime
from collections.abc import Mapping, Sequence

import dagster as dg
from dagster._utils.schedules import get_latest_completed_cron_tick, get_next_cron_tick, is_valid_cron_string


def backfill_request(
    assets: Sequence[dg.AssetsDefinition], partitions: Sequence[str], *, tags: Mapping[str, str]
) -> dg.RunRequest:
    """A request that a sensor hands out for one backfill of several partitioned assets.

    Raises:
        ValueError: one of the assets has no partitions.
    """
    # Here and below inside the functions: at the top they make the definitions a tenth slower to import.
    from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset

    subsets = {}
    for asset in assets:
        if asset.partitions_def is None:
            raise ValueError(f"{asset.key.to_user_string()} has no partitions to backfill")
        subsets[asset.key] = asset.partitions_def.subset_with_partition_keys(partitions)
    wanted = AssetGraphSubset.create_empty_subset()._replace(partitions_subsets_by_asset_key=subsets)
    return dg.RunRequest.for_asset_graph_subset(wanted, tags=tags)


def backfilled(request: dg.RunRequest) -> dict[dg.AssetKey, list[str]]:
    """The partitions that a request of `backfill_request` asks for, by asset."""
    assert request.asset_graph_subset is not None
    subsets = request.asset_graph_subset.partitions_subsets_by_asset_key
    return {key: sorted(subset.get_partition_keys()) for key, subset in subsets.items()}


def unfinished_backfills(instance: dg.DagsterInstance, keys: set[dg.AssetKey]) -> list[str]:
    """Ids of the backfills under way that touch one of the assets."""
    from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus

    unfinished = [BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING, BulkActionStatus.FAILING]
    found = instance.get_backfills(filters=BulkActionsFilter(statuses=unfinished))
    return [one.backfill_id for one in found if keys & set(one.asset_selection or keys)]


def is_cron(text: str) -> bool:
    """Whether `text` is a cron expression of five fields (or an alias such as @daily)."""
    return is_valid_cron_string(text)


def latest_moment(cron: str, now: datetime.datetime) -> datetime.datetime:
    """The last moment of a cron expression, read in UTC, that is not after `now`."""
    return get_latest_completed_cron_tick(cron, now, "UTC")


def next_moment(cron: str, now: datetime.datetime) -> datetime.datetime:
    """The first moment of a cron expression, read in UTC, that is not before `now`."""
    return get_next_cron_tick(cron, now, "UTC")
