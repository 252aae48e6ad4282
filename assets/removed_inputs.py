"""The check that a checkpoint learnt from nothing that was removed since."""

import dagster as dg

from assets.common import verdict
from selfai_pipeline.errors import InputError
from selfai_pipeline.store import Store
from selfai_pipeline.tables import CheckpointRef

CHECK = "no_removed_inputs"
TRAINED = ("siamese_checkpoint", "widened_checkpoint", "finetuned_scorer")


def removed_verdict(ref: CheckpointRef, store: Store) -> dg.AssetCheckResult:
    """Whether a checkpoint, or one that it was made from, is marked by a removal."""
    from selfai_pipeline.removal.marks import removed_inputs

    marks = removed_inputs(store, ref)
    text = "; ".join(map(str, marks))
    text = f"{text}. Train it again: `selfai run`." if marks else "nothing that it learnt from was removed"
    return verdict(ref.asset, CHECK, not marks, text, removals=len({mark.removal for mark in marks}))


def report(instance: dg.DagsterInstance, result: dg.AssetCheckResult) -> None:
    """Record what a check finds now, without a run."""
    # Without the materialization that it targets, an evaluation is taken for one of an older version; the
    # class that names it is in no public module.
    from dagster._core.definitions.asset_checks.asset_check_evaluation import (
        AssetCheckEvaluationTargetMaterializationData,
    )

    assert result.asset_key is not None
    assert result.check_name is not None
    query = dg.AssetRecordsFilter(asset_key=result.asset_key)
    latest = instance.fetch_materializations(query, limit=1).records
    targets = [
        AssetCheckEvaluationTargetMaterializationData(
            storage_id=one.storage_id, run_id=one.event_log_entry.run_id, timestamp=one.timestamp
        )
        for one in latest
    ]
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=result.asset_key,
            check_name=result.check_name,
            passed=result.passed,
            metadata=result.metadata,
            target_materialization_data=targets[0] if targets else None,
            severity=result.severity,
            description=result.description,
        )
    )


def removed_check(asset: str) -> dg.AssetChecksDefinition:
    """The check of one asset of training; `selfai remove` lets it fail at once where that is due."""

    @dg.asset_check(
        asset=asset,
        name=CHECK,
        description="Neither it nor a checkpoint that it was made from learnt from a picture, or from "
        "ratings, that were removed since (`selfai remove`).",
    )
    def check(store: dg.ResourceParam[Store]) -> dg.AssetCheckResult:
        record = store.tables.current(asset)
        if record is None or not isinstance(record.ref, CheckpointRef):
            raise InputError("nothing was trained yet", where=asset, mend=f"Materialize {asset} first.")
        return removed_verdict(record.ref, store)

    return check


removed_checks = [removed_check(asset) for asset in TRAINED]
