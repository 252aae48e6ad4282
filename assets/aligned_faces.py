"""Faces: found, aligned by the eyes, cropped."""

from collections.abc import Iterator

import dagster as dg

from assets.common import (
    BY_RANGE,
    OWNERS,
    check_specs,
    crawl_days,
    materialized,
    needed,
    preview_link,
    verdict,
)
from resources.detector import FaceDetector
from selfai_pipeline.environment import for_environment
from selfai_pipeline.faces.settings import FaceSettings
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Snapshot


class FaceConfig(for_environment(FaceSettings), dg.Config):  # type: ignore[misc]
    """Detection and alignment; each setting can be changed in the Launchpad."""


@dg.asset(
    partitions_def=crawl_days,
    backfill_policy=BY_RANGE,
    group_name="data",
    kinds={"pytorch", "parquet"},
    owners=OWNERS,
    code_version="2",
)
def aligned_faces(
    context: dg.AssetExecutionContext,
    config: FaceConfig,
    pruned_set: Snapshot,
    store: dg.ResourceParam[Store],
    detector: FaceDetector,
) -> Snapshot:
    """One row a kept picture's face: box, landmarks, residual and the aligned crop; or why there is none.

    RetinaFace finds the faces; a least-squares similarity on the five landmarks brings eyes, nose and mouth
    to the same place in every crop.
    """
    from selfai_pipeline.faces.align import align_day
    from selfai_pipeline.faces.contact_sheet import write_contact_sheet

    retinaface = detector.load()
    refs, metadata = {}, {}
    for day in context.partition_keys:
        needed(day, pruned_set)
        refs[day] = align_day(pruned_set.tables[day], store=store, detector=retinaface, settings=config)
        preview = f"previews/aligned_faces/{day}.jpg"
        write_contact_sheet(refs[day], store=store, path=store.home.root / preview)
        counts = dg.MetadataValue.json(store.tables.facts(refs[day])["counts"])
        metadata[day] = {"counts": counts, "contact_sheet": preview_link(preview)}
    return materialized(context, refs, inputs=[pruned_set], settings=config, metadata=metadata)


@dg.multi_asset_check(
    specs=check_specs(
        "aligned_faces",
        completeness="Every crop of the table is in the crop store.",
        sanity="Residuals are finite and below a quarter of the crop; border fractions lie in 0..1.",
        floor="At least half of the kept pictures give a face, where there are any.",
        partitions=crawl_days,
    )
)
def aligned_faces_checks(
    aligned_faces: Snapshot, store: dg.ResourceParam[Store]
) -> Iterator[dg.AssetCheckResult]:
    """Completeness, sanity and quality floor of alignment."""
    rows = store.tables.read_all(aligned_faces).to_pylist()
    faces = [row for row in rows if row["crop_sha256"]]
    lost = sum(row["crop_sha256"] not in store.crops for row in faces)
    yield verdict("aligned_faces", "completeness", lost == 0, f"{lost} crops are lost", lost=lost)
    odd = sum(not (0 <= row["residual_px"] < 56 and 0 <= row["border_fraction"] <= 1) for row in faces)
    yield verdict("aligned_faces", "sanity", odd == 0, f"{odd} faces out of range", odd=odd)
    share = len({row["image_id"] for row in faces}) / max(1, len({row["image_id"] for row in rows}))
    passed = share >= 0.5 or not rows
    yield verdict("aligned_faces", "quality_floor", passed, f"{share:.0%} give a face", face_share=share)
