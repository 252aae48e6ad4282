"""Labels: the crowd's score of each face, split and balanced."""

import logging
from collections.abc import Iterator

import dagster as dg

from assets.common import OWNERS, check_specs, judged, materialized, verdict
from selfai_pipeline.errors import InputError
from selfai_pipeline.knobs import defaults_of
from selfai_pipeline.labels.settings import LabelSettings
from selfai_pipeline.store import Store
from selfai_pipeline.tables import WHOLE, Snapshot, TableRef

logger = logging.getLogger("selfai.labels")


class LabelConfig(defaults_of(LabelSettings, section="balanced_label_table"), dg.Config):  # type: ignore[misc]
    """Rating model, splits and balance; each setting can be changed in the Launchpad."""


@dg.asset(group_name="labels", kinds={"parquet"}, owners=OWNERS, code_version="4")
def balanced_label_table(
    context: dg.AssetExecutionContext,
    config: LabelConfig,
    annotations: Snapshot,
    aligned_faces: Snapshot,
    store: dg.ResourceParam[Store],
) -> Snapshot:
    """One row a rated face: the crowd's score with its standard error, split and sampling weight.

    Annotators' bias and inconsistency are estimated and taken out; the splits never divide a group of
    near-duplicates; weights draw a class first and a picture second. The noise ceiling says how well any
    model could correlate with these scores. Days whose faces did not pass their checks are left out.
    """
    from selfai_pipeline.labels.label_table import build_label_table

    faces = store.tables.only_passed(aligned_faces)
    left_out = sorted(set(aligned_faces.refs) - set(faces.refs))
    if left_out:
        logger.warning("left out, because their faces did not pass the checks: %s", ", ".join(left_out))
    if not faces.refs:
        raise InputError(
            "no day has passed its checks",
            where="aligned_faces",
            mend="Materialize its days with their checks, and mend what these name.",
        )
    ref = build_label_table(annotations.table, faces, store=store, settings=config)
    figures = dg.MetadataValue.json(store.tables.facts(ref))
    facts = {WHOLE: {"figures": figures, "days_left_out": dg.MetadataValue.json(left_out)}}
    inputs = [annotations, faces]
    return materialized(context, {WHOLE: ref}, inputs=inputs, settings=config, metadata=facts)


@dg.multi_asset_check(
    specs=check_specs(
        "balanced_label_table",
        completeness="Each split has faces, and each face has a crop that is stored.",
        sanity="No cluster crosses a split; weights are a distribution over training faces.",
        floor="Two annotators or more stand behind each score.",
    )
)
def balanced_label_table_checks(
    balanced_label_table: Snapshot, store: dg.ResourceParam[Store]
) -> Iterator[dg.AssetCheckResult]:
    """Completeness, sanity and quality floor of the labels."""
    yield from judged(store, balanced_label_table.table, label_verdicts(balanced_label_table.table, store))


def label_verdicts(ref: TableRef, store: Store) -> Iterator[dg.AssetCheckResult]:
    """Completeness, sanity and quality floor of a version of the labels."""
    asset = "balanced_label_table"
    rows = store.tables.read(ref).to_pylist()
    splits = {row["split"] for row in rows}
    lost = sum(row["crop_sha256"] not in store.crops for row in rows)
    complete = splits == {"train", "validation", "test"} and lost == 0
    yield verdict(asset, "completeness", complete, f"splits {sorted(splits)}, {lost} crops lost", lost=lost)
    crossing = len({(row["cluster"], row["split"]) for row in rows}) - len({row["cluster"] for row in rows})
    total = sum(row["weight"] for row in rows)
    outside = sum(row["weight"] != 0 for row in rows if row["split"] != "train")
    sane = crossing == 0 and outside == 0 and abs(total - 1) < 1e-6
    text = (
        f"{crossing} clusters cross splits, {outside} weights outside of training, weights sum to {total:.6f}"
    )
    yield verdict(asset, "sanity", sane, text, crossing=crossing, outside=outside, weights=total)
    fewest = min((row["annotators"] for row in rows), default=0)
    text = f"{fewest} annotators stand behind a score, where two are needed"
    yield verdict(asset, "quality_floor", fewest >= 2, text, fewest=fewest)
