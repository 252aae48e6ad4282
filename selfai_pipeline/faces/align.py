"""Align a day: find the face of each kept picture and store its crop, or record why there is none."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import cv2
import numpy as np

from selfai_pipeline.faces.alignment import Alignment, Points, align, template
from selfai_pipeline.faces.detector import Detection, Detector, Pixels
from selfai_pipeline.faces.finding import over_pictures
from selfai_pipeline.faces.opened import Opened
from selfai_pipeline.faces.pose import Pose, estimated_pose
from selfai_pipeline.faces.settings import FaceSettings
from selfai_pipeline.pictures.prune import summary
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef

logger = logging.getLogger("selfai.faces")

_TAKEN_OVER = ["image_id", "source", "url", "perceptual_hash", "thumbnail"]
_COLUMNS = [*_TAKEN_OVER, "kept", "orientation"]
_PNG_COMPRESSION = 1


def align_day(pruned: TableRef, *, store: Store, detector: Detector, settings: FaceSettings) -> TableRef:
    """The aligned faces of a day: one row a kept picture of `pruned` (a version of `pruned_set`).

    The largest face of a picture counts; `faces_found` tells how many there were. A picture is decoded
    once, and a bounded number of pixels is in memory at a time. Reasons for no crop: no_face, several_faces,
    too_small_face, extreme_pose, bad_alignment, too_much_border (the first that holds, in this order), or
    that of the decoder.

    Rows are sorted by image_id. Facts: `counts` by outcome, `found_by` (what ran the detector), `funnel`
    (see `funnel_of`), `state` aligned or empty, `template` (x, y of the five landmarks in crop pixels).

    Raises:
        MissingVersion, AlteredVersion: a stored picture is gone, or its bytes are not what its name says.
    """
    # Worker processes know the library only, and no configuration of an asset.
    settings = FaceSettings(**settings.model_dump())
    kept = [row for row in store.tables.read(pruned, _COLUMNS).to_pylist() if row["kept"]]
    kept.sort(key=lambda row: row["image_id"])
    target = template(
        crop_size=settings.crop_size,
        eye_distance=settings.eye_distance,
        eye_height=settings.eye_height,
    )
    row = partial(_row, target=target, store=store, settings=settings)
    rows = over_pictures(kept, row, store=store, detector=detector, settings=settings)
    counts = Counter(row["reason"] or "aligned" for row in rows)
    funnel = funnel_of(store.tables.facts(pruned), counts)
    ref = store.tables.write(
        rows,
        asset="aligned_faces",
        partition=pruned.partition,
        facts={
            "counts": dict(sorted(counts.items())),
            "found_by": detector.engine.name,
            "funnel": funnel,
            "state": "aligned" if rows else "empty",
            "template": target.tolist(),
        },
    )
    logger.info("aligned %s: %s", pruned.partition, summary(counts, good="aligned"))
    logger.info(
        "of the crawl of %s: %s", pruned.partition, ", ".join(f"{n} {step}" for step, n in _steps(funnel))
    )
    return ref


def funnel_of(pruned: Mapping[str, Any], faces: Mapping[str, int]) -> dict[str, Any]:
    """What became of a day's crawl: how many pictures each step left, and why the others went.

    Args:
        pruned: the facts of the pruned set.
        faces: counts of the faces by outcome.

    Returns:
        `crawled`, `stored`, `kept` and `faces` count pictures; `not_stored`, `dropped` and `no_crop` are
        counts by reason.
    """
    crawled, kept = pruned.get("crawled", {}), pruned.get("counts", {})
    return {
        "crawled": sum(crawled.values()),
        "not_stored": {reason: n for reason, n in sorted(crawled.items()) if reason != "stored"},
        "stored": sum(kept.values()),
        "dropped": {reason: n for reason, n in sorted(kept.items()) if reason != "kept"},
        "kept": kept.get("kept", 0),
        "no_crop": {reason: n for reason, n in sorted(faces.items()) if reason != "aligned"},
        "faces": faces.get("aligned", 0),
    }


def _steps(funnel: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for step in ("crawled", "stored", "kept", "faces"):
        yield step, funnel[step]


def first_reason(
    face: Detection, alignment: Alignment, pose: Pose, settings: FaceSettings, *, faces_found: int = 1
) -> str | None:
    """Why the largest of the faces that were found in a picture gets no crop, or None."""
    turned = abs(pose.yaw) > settings.max_yaw or abs(pose.pitch) > settings.max_pitch
    rules = (
        ("several_faces", 0 < settings.most_faces < faces_found),
        ("too_small_face", face.eye_distance < settings.min_eye_distance),
        ("extreme_pose", turned or abs(alignment.roll) > settings.max_roll),
        ("bad_alignment", alignment.residual > settings.max_residual * settings.crop_size),
        ("too_much_border", alignment.border > settings.max_border),
    )
    return next((reason for reason, broken in rules if broken), None)


def _row(
    opened: Opened, faces: list[Detection], *, target: Points, store: Store, settings: FaceSettings
) -> dict[str, Any]:
    row: dict[str, Any] = {
        **{name: opened.row[name] for name in _TAKEN_OVER},
        "face": -1,
        "reason": opened.reason or "no_face",
        "faces_found": len(faces),
        **dict.fromkeys(["box", "landmarks", "detection_score", "residual_px", "eye_distance_px"]),
        **dict.fromkeys(["roll_degrees", "yaw_degrees", "pitch_degrees", "border_fraction", "crop_sha256"]),
    }
    if opened.pixels is None or not faces:
        return row
    face = faces[0]
    alignment = align(face.landmarks, target, picture_size=opened.size, crop_size=settings.crop_size)
    pose = estimated_pose(face.landmarks)
    row |= {
        "face": 0,
        "reason": first_reason(face, alignment, pose, settings, faces_found=len(faces)),
        "box": face.box.tolist(),
        "landmarks": face.landmarks.ravel().tolist(),
        "detection_score": face.score,
        "residual_px": alignment.residual,
        "eye_distance_px": face.eye_distance,
        "roll_degrees": alignment.roll,
        "yaw_degrees": pose.yaw,
        "pitch_degrees": pose.pitch,
        "border_fraction": alignment.border,
    }
    if row["reason"] is None:
        pixels = opened.crop(alignment.matrix, crop_size=settings.crop_size)
        row["crop_sha256"] = store.crops.put(_png(pixels))
    return row


def _png(pixels: Pixels) -> bytes:
    written, content = cv2.imencode(
        ".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, _PNG_COMPRESSION]
    )
    assert written
    return np.asarray(content).tobytes()
