"""The champion: the alias moves here, behind the check of the comparison."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg

from assets.common import OWNERS, check_specs, judged, materialized, verdict
from resources.tracking import Tracking
from selfai_pipeline.environment import Settings
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, Snapshot

if TYPE_CHECKING:
    from selfai_pipeline.lineage.promotions import Champion


@dg.asset(group_name="release", kinds={"mlflow"}, owners=OWNERS, code_version="1")
def champion(
    context: dg.AssetExecutionContext,
    champion_comparison: Snapshot,
    store: dg.ResourceParam[Store],
    tracking: Tracking,
) -> Snapshot:
    """The scorer that is in use: the alias `champion` of the registered model.

    It moves to the scorer that was compared, where the check `promotion` of that comparison has passed, and
    the log of promotions says when and why. A scorer that a person took back with `selfai rollback` is not
    promoted again by a run.
    """
    from selfai_pipeline.release.model_registry import ModelRegistry
    from selfai_pipeline.release.promotion import promote_compared
    from selfai_pipeline.removal.marks import removed_inputs

    ref, finding = promote_compared(
        champion_comparison.table,
        registry=ModelRegistry(tracking.client()),
        store=store,
        removed_inputs=removed_inputs,
        dagster_run=context.run.run_id,
    )
    (row,) = store.tables.read(ref).to_pylist()
    figures = {
        "version": row["version"],
        "reason": finding,
        "before": "none" if row["before_version"] is None else str(row["before_version"]),
        "registered_version": dg.MetadataValue.url(tracking.model_url(row["version"])),
    }
    return materialized(
        context, {WHOLE: ref}, inputs=[champion_comparison], settings=Settings(), metadata={WHOLE: figures}
    )


@dg.multi_asset_check(
    specs=check_specs(
        "champion",
        completeness="The log of promotions says that it was made champion.",
        sanity="Its checkpoint and the registered copy read back, every byte as it was.",
        floor="No removed data is in the champion that is in use, whoever made it champion.",
    )
)
def champion_checks(
    champion: Snapshot, store: dg.ResourceParam[Store], tracking: Tracking
) -> Iterator[dg.AssetCheckResult]:
    """Completeness, sanity and quality floor of a champion."""
    from selfai_pipeline.lineage.promotions import Champion, read_promotions
    from selfai_pipeline.release.model_registry import ModelRegistry, problem_of

    asset, ref = "champion", champion.table
    (row,) = store.tables.read(ref).to_pylist()
    made = Champion(row["version"], row["checkpoint_sha256"])
    log = read_promotions(store)
    known = [entry.number for entry in log.entries if entry.champion == made]
    text = f"entries of the log that name it: {', '.join(map(str, known)) or 'none'}"
    problem = problem_of(made, registry=ModelRegistry(tracking.client()), store=store)
    yield from judged(
        store,
        ref,
        [
            verdict(asset, "completeness", bool(known), text),
            verdict(asset, "sanity", not problem, problem or "reads back, every byte as it was written"),
            removed_verdict(log.champion or made, store),
        ],
    )


def removed_verdict(made: "Champion", store: Store) -> dg.AssetCheckResult:
    """Whether a champion is marked by a removal."""
    from selfai_pipeline.release.model_registry import reference
    from selfai_pipeline.removal.marks import removed_inputs

    removed = removed_inputs(store, reference(made))
    text = "; ".join(map(str, removed)) or "no removed data"
    return verdict("champion", "quality_floor", not removed, f"version {made.version}: {text}")
