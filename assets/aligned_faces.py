"""Faces: found, aligned by the eyes, cropped."""

from collections.abc import Iterator
from typing import Any

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
    picture,
    preview_link,
    record_of,
    source_of,
    verdict,
)
from assets.policies import retries
from assets.training_stage import ran_on
from resources.compute import Compute
from resources.detector import FaceDetector, describe_run
from selfai_pipeline.faces.settings import FaceRule, FaceSettings
from selfai_pipeline.knobs import defaults_of
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Snapshot, TableRef

WARNINGS = {
    "eyes": "In half of the crops or more the eyes lie within 2 px (of 224) of their places in the template; "
    "fewer are put down to chance as far as it explains them.",
    "face_share": "No fewer pictures give a face than on the days before, as far as chance explains.",
    "residuals": "Faces fit the template no worse than on the days before.",
}
"""Checks that stop nothing: a day of other pictures is no defect, but somebody should look."""

EYES_WITHIN = 2 / 224
"""Of the crop's side."""

_JUDGED = [
    *("image_id", "face", "faces_found", "crop_sha256"),
    *("residual_px", "border_fraction", "yaw_degrees", "pitch_degrees"),
]
"""Columns that the checks read."""


class FaceConfig(defaults_of(FaceSettings, section="aligned_faces"), dg.Config):  # type: ignore[misc]
    """Detection and alignment; each setting can be changed in the Launchpad."""


@dg.asset(
    partitions_def=crawl_days,
    backfill_policy=BY_RANGE,
    group_name="data",
    kinds={"onnx", "parquet"},
    owners=OWNERS,
    code_version="6",
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

    RetinaFace finds the faces, and looks again at each, upright and enlarged; a least-squares similarity on
    the five landmarks brings eyes, nose and mouth to the same place in every crop. The funnel sums up the
    day: crawled, stored, kept, faces, and why the others went. The contact sheet shows crops with their
    landmarks, the worst first; the histograms all faces that were found.
    """
    from selfai_pipeline.faces.align import align_day
    from selfai_pipeline.faces.contact_sheet import write_contact_sheet
    from selfai_pipeline.faces.finding import workers_for

    retinaface = detector.load(compute)
    refs, metadata = {}, {}
    for day in context.partition_keys:
        needed(day, pruned_set)
        with retries(context):
            refs[day] = align_day(pruned_set.tables[day], store=store, detector=retinaface, settings=config)
        preview = f"previews/aligned_faces/{day}.jpg"
        write_contact_sheet(refs[day], store=store, path=store.home.root / preview)
        kept = store.tables.facts(refs[day])["funnel"]["kept"]
        workers = workers_for(kept, detector=retinaface, settings=config)
        metadata[day] = {
            "contact_sheet": preview_link(preview),
            **face_page(refs[day], store),
            **ran_on(describe_run(retinaface, compute, workers=workers)),
        }
    return materialized(context, refs, inputs=[pruned_set], settings=config, metadata=metadata)


def face_page(ref: TableRef, store: Store) -> dict[str, dg.MetadataValue[Any]]:
    """Counts by reason, funnel, figures and histograms of a day's faces."""
    from selfai_pipeline.faces.figures import histograms_png, measured, quantiles

    facts = store.tables.facts(ref)
    page: dict[str, dg.MetadataValue[Any]] = {
        "counts": dg.MetadataValue.json(facts["counts"]),
        "funnel": dg.MetadataValue.json(facts["funnel"]),
    }
    faces = measured(ref, store=store)
    if faces:
        page["figures"] = dg.MetadataValue.table([dg.TableRecord(line) for line in quantiles(faces)])
        page["histograms"] = picture(histograms_png(faces))
    return page


@dg.multi_asset_check(
    specs=[
        *check_specs(
            "aligned_faces",
            completeness="One row a kept picture of the pruned set, or a face where all count, and every "
            "crop is in the crop store.",
            sanity="Residuals are finite and below a quarter of the crop; border fractions lie in 0..1; each "
            "face has a pose.",
            floor="At least half of the kept pictures give a face, where there are twenty or more.",
            partitions=crawl_days,
        ),
        *(
            dg.AssetCheckSpec(
                name, asset="aligned_faces", description=text, blocking=False, partitions_def=crawl_days
            )
            for name, text in WARNINGS.items()
        ),
    ]
)
def aligned_faces_checks(
    context: dg.AssetCheckExecutionContext, aligned_faces: Snapshot, store: dg.ResourceParam[Store]
) -> Iterator[dg.AssetCheckResult | dg.AssetCheckEvaluation]:
    """Completeness, sanity and quality floor of alignment, and what is worth a look, day by day."""
    yield from judged_by_day(context, aligned_faces, store, face_verdicts)


def face_verdicts(ref: TableRef, store: Store) -> Iterator[dg.AssetCheckResult]:
    """Completeness, sanity and quality floor of one day's faces, and the three warnings."""
    from selfai_pipeline.faces.soundness import rows_amiss

    asset = "aligned_faces"
    rows = store.tables.read(ref, _JUDGED).to_pylist()
    pruned = store.tables.read(source_of(store, ref, "pruned_set"), ["image_id", "kept"]).to_pylist()
    settings = record_of(store, ref).settings
    kept = [row["image_id"] for row in pruned if row["kept"]]
    amiss = rows_amiss(rows, kept, rule=FaceRule(settings.get("which_face", FaceRule.LARGEST)))
    faces = [row for row in rows if row["crop_sha256"]]
    lost = sum(row["crop_sha256"] not in store.crops for row in faces)
    text = f"{amiss} rows lost or too many, {lost} crops are lost"
    yield verdict(asset, "completeness", amiss == lost == 0, text, amiss=amiss, lost=lost)
    most = settings["crop_size"] / 4
    odd = sum(
        not (0 <= row["residual_px"] < most and 0 <= row["border_fraction"] <= 1)
        or row["yaw_degrees"] is None
        or row["pitch_degrees"] is None
        for row in faces
    )
    yield verdict(asset, "sanity", odd == 0, f"{odd} faces out of range", odd=odd, most_residual_px=most)
    pictures, with_face = {row["image_id"] for row in rows}, {row["image_id"] for row in faces}
    share = len(with_face) / len(pictures) if pictures else 1.0
    text = f"{len(with_face)} of {len(pictures)} pictures give a face, where half is needed"
    enough = share >= 0.5 or len(pictures) < FEW_PICTURES
    yield verdict(asset, "quality_floor", enough, text, face_share=share)
    yield from face_warnings(ref, store, crop_size=settings["crop_size"])


def face_warnings(ref: TableRef, store: Store, *, crop_size: int) -> Iterator[dg.AssetCheckResult]:
    """What about one day's faces is worth a look."""
    import numpy as np

    from selfai_pipeline.faces.drift import eye_comparison
    from selfai_pipeline.faces.figures import eye_errors, measured
    from selfai_pipeline.faces.soundness import beside_earlier_days

    asset, warn = "aligned_faces", dg.AssetCheckSeverity.WARN
    target = np.array(store.tables.facts(ref)["template"])
    errors = eye_errors(measured(ref, store=store), target=target)
    comparisons = {
        "eyes": eye_comparison(errors, most=EYES_WITHIN * crop_size),
        **beside_earlier_days(ref, store=store),
    }
    for name, found in comparisons.items():
        yield verdict(asset, name, not found.unusual, found.text, warn, **found.figures)
