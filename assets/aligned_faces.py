"""Faces: found, aligned by the eyes, cropped."""

from collections.abc import Iterator

import dagster as dg

from assets.common import (
    BY_RANGE,
    FEW_PICTURES,
    GPU_TAGS,
    OWNERS,
    check_specs,
    crawl_days,
    judged_by_day,
    materialized,
    needed,
    preview_link,
    record_of,
    source_of,
    verdict,
)
from assets.training_stage import ran_on
from resources.compute import Compute
from resources.detector import FaceDetector, describe_run
from selfai_pipeline.faces.settings import FaceSettings
from selfai_pipeline.knobs import defaults_of
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Snapshot, TableRef, differing


class FaceConfig(defaults_of(FaceSettings, section="aligned_faces"), dg.Config):  # type: ignore[misc]
    """Detection and alignment; each setting can be changed in the Launchpad."""


@dg.asset(
    partitions_def=crawl_days,
    backfill_policy=BY_RANGE,
    group_name="data",
    kinds={"onnx", "parquet"},
    owners=OWNERS,
    code_version="5",
    pool="gpu",
    op_tags=GPU_TAGS,
)
def aligned_faces(
    context: dg.AssetExecutionContext,
    config: FaceConfig,
    pruned_set: Snapshot,
    store: dg.ResourceParam[Store],
    compute: Compute,
    detector: FaceDetector,
) -> Snapshot:
    """One row a kept picture's face: box, landmarks, residual and the aligned crop; or why there is none.

    RetinaFace finds the faces; a least-squares similarity on the five landmarks brings eyes, nose and mouth
    to the same place in every crop. The funnel sums up the day: crawled, stored, kept, faces, and why the
    others went.
    """
    from selfai_pipeline.faces.align import align_day
    from selfai_pipeline.faces.contact_sheet import write_contact_sheet
    from selfai_pipeline.faces.finding import workers_for

    retinaface = detector.load(compute)
    refs, metadata = {}, {}
    for day in context.partition_keys:
        needed(day, pruned_set)
        refs[day] = align_day(pruned_set.tables[day], store=store, detector=retinaface, settings=config)
        preview = f"previews/aligned_faces/{day}.jpg"
        write_contact_sheet(refs[day], store=store, path=store.home.root / preview)
        facts = store.tables.facts(refs[day])
        workers = workers_for(refs[day].rows, detector=retinaface, settings=config)
        metadata[day] = {
            "counts": dg.MetadataValue.json(facts["counts"]),
            "funnel": dg.MetadataValue.json(facts["funnel"]),
            "contact_sheet": preview_link(preview),
            **ran_on(describe_run(retinaface, compute, workers=workers)),
        }
    return materialized(context, refs, inputs=[pruned_set], settings=config, metadata=metadata)


@dg.multi_asset_check(
    specs=check_specs(
        "aligned_faces",
        completeness="One row a kept picture of the pruned set, and every crop is in the crop store.",
        sanity="Residuals are finite and below a quarter of the crop; border fractions lie in 0..1; each "
        "face has a pose.",
        floor="At least half of the kept pictures give a face, where there are twenty or more.",
        partitions=crawl_days,
    )
)
def aligned_faces_checks(
    context: dg.AssetCheckExecutionContext, aligned_faces: Snapshot, store: dg.ResourceParam[Store]
) -> Iterator[dg.AssetCheckResult | dg.AssetCheckEvaluation]:
    """Completeness, sanity and quality floor of alignment, day by day."""
    yield from judged_by_day(context, aligned_faces, store, face_verdicts)


def face_verdicts(ref: TableRef, store: Store) -> Iterator[dg.AssetCheckResult]:
    """Completeness, sanity and quality floor of one day's faces."""
    asset = "aligned_faces"
    rows = store.tables.read(ref).to_pylist()
    pruned = store.tables.read(source_of(store, ref, "pruned_set"), ["image_id", "kept"]).to_pylist()
    kept = [row["image_id"] for row in pruned if row["kept"]]
    amiss = differing(kept, [row["image_id"] for row in rows])
    faces = [row for row in rows if row["crop_sha256"]]
    lost = sum(row["crop_sha256"] not in store.crops for row in faces)
    text = f"{amiss} rows lost or too many, {lost} crops are lost"
    yield verdict(asset, "completeness", amiss == lost == 0, text, amiss=amiss, lost=lost)
    most = record_of(store, ref).settings["crop_size"] / 4
    odd = sum(
        not (0 <= row["residual_px"] < most and 0 <= row["border_fraction"] <= 1)
        or row["yaw_degrees"] is None
        or row["pitch_degrees"] is None
        for row in faces
    )
    yield verdict(asset, "sanity", odd == 0, f"{odd} faces out of range", odd=odd, most_residual_px=most)
    share = len(faces) / len(rows) if rows else 1.0
    text = f"{len(faces)} of {len(rows)} pictures give a face, where half is needed"
    enough = share >= 0.5 or len(rows) < FEW_PICTURES
    yield verdict(asset, "quality_floor", enough, text, face_share=share)
