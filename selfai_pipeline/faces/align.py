"""Align a day: find the face of each kept picture and store its crop, or record why there is none."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from selfai_pipeline.faces.alignment import Points, align, crop, template
from selfai_pipeline.faces.detector import Detection, Detector, Pixels
from selfai_pipeline.faces.pose import estimated_pose
from selfai_pipeline.faces.refining import refined
from selfai_pipeline.faces.rules import chosen_faces, first_reason
from selfai_pipeline.faces.settings import FaceSettings
from selfai_pipeline.faces.sharpness import face_sharpness
from selfai_pipeline.faces.turned import with_turned_looks
from selfai_pipeline.pictures.decoding import PictureError, decode_rgb
from selfai_pipeline.pictures.prune import summary
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef

logger = logging.getLogger("selfai.faces")

_TAKEN_OVER = ["image_id", "source", "url", "perceptual_hash", "thumbnail"]
_OF_A_FACE = [
    *("box", "landmarks", "detection_score", "residual_px", "eye_distance_px", "roll_degrees"),
    *("yaw_degrees", "pitch_degrees", "sharpness", "border_fraction", "crop_sha256"),
]
_COLUMNS = [*_TAKEN_OVER, "kept", "orientation"]
_PIXELS_AT_ONCE = 64_000_000
_BATCHES_AT_ONCE = 8
"""Pictures are opened some batches at a time, so that those of one shape find each other."""

_PNG_COMPRESSION = 1


@dataclass(frozen=True)
class Opened:
    """A kept row of the pruned set and its upright pixels, or the reason why it has none."""

    row: dict[str, Any]
    pixels: Pixels | None
    reason: str | None = None


def align_day(pruned: TableRef, *, store: Store, detector: Detector, settings: FaceSettings) -> TableRef:
    """The aligned faces of a day: one row a kept picture of `pruned` (a version of `pruned_set`), or a face.

    Which faces of a picture count is a setting; `faces_found` tells how many there were, and a picture
    without one has a row that says why. A picture is decoded once, and a bounded number of pixels is in
    memory at a time. Reasons for no crop: no_face, several_faces, too_small_face, extreme_pose,
    bad_alignment, too_much_border, blurred_face (the first that holds, in this order), or that of the
    decoder.

    Rows are sorted by image_id, then by the number of the face: 0 is the largest of its picture. Facts:
    `counts` of rows by outcome, `funnel` of pictures (see `funnel_of`), `state` aligned or empty, `template`
    (x, y of the five landmarks in crop pixels).

    Raises:
        MissingVersion, AlteredVersion: a stored picture is gone, or its bytes are not what its name says.
    """
    kept = [row for row in store.tables.read(pruned, _COLUMNS).to_pylist() if row["kept"]]
    kept.sort(key=lambda row: row["image_id"])
    target = template(
        crop_size=settings.crop_size,
        eye_distance=settings.eye_distance,
        eye_height=settings.eye_height,
    )
    rows: list[dict[str, Any]] = []
    for batch in _batches(
        _open_all(kept, store=store, settings=settings), size=_BATCHES_AT_ONCE * settings.batch_size
    ):
        pictures = [opened.pixels for opened in batch if opened.pixels is not None]
        upright = _find(pictures, detector=detector, settings=settings)
        found = with_turned_looks(pictures, upright, detector=detector, settings=settings)
        chosen = _looked_at_closely(pictures, found, detector=detector, settings=settings)
        seen = iter(zip(found, chosen, strict=True))
        for opened in batch:
            faces, kept_faces = ([], {}) if opened.pixels is None else next(seen)
            rows += _rows(opened, faces, kept_faces, target=target, store=store, settings=settings)
    counts = Counter(row["reason"] or "aligned" for row in rows)
    funnel = funnel_of(store.tables.facts(pruned), outcomes_of(rows))
    ref = store.tables.write(
        rows,
        asset="aligned_faces",
        partition=pruned.partition,
        facts={
            "counts": dict(sorted(counts.items())),
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


def outcomes_of(rows: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """How many pictures gave a crop (`aligned`), and why the others gave none: the reason of the first face.

    Args:
        rows: of `aligned_faces`, sorted; with image_id and reason.
    """
    outcomes: dict[str, str] = {}
    for row in rows:
        if row["reason"] is None or row["image_id"] not in outcomes:
            outcomes[row["image_id"]] = row["reason"] or "aligned"
    return Counter(outcomes.values())


def funnel_of(pruned: Mapping[str, Any], faces: Mapping[str, int]) -> dict[str, Any]:
    """What became of a day's crawl: how many pictures each step left, and why the others went.

    Args:
        pruned: the facts of the pruned set.
        faces: pictures by outcome, as `outcomes_of` counts them.

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


def _looked_at_closely(
    pictures: list[Pixels], found: list[list[Detection]], *, detector: Detector, settings: FaceSettings
) -> list[dict[int, Detection]]:
    """The faces of each picture that count, by number, with the landmarks that a closer look shows."""
    chosen = [
        (index, number, face)
        for index, (picture, faces) in enumerate(zip(pictures, found, strict=True))
        for number, face in chosen_faces(
            faces, settings.which_face, picture_size=(picture.shape[0], picture.shape[1])
        )
    ]
    closer = refined(
        [pictures[index] for index, _, _ in chosen],
        [face for _, _, face in chosen],
        detector=detector,
        settings=settings,
    )
    faces: list[dict[int, Detection]] = [{} for _ in pictures]
    for (index, number, _), face in zip(chosen, closer, strict=True):
        faces[index][number] = face
    return faces


def _find(pictures: list[Pixels], *, detector: Detector, settings: FaceSettings) -> list[list[Detection]]:
    """The faces of each picture; where a large one shows none, small faces get a second look."""

    def look(at: list[Pixels], *, side: int) -> list[list[Detection]]:
        return detector.detect(
            at, side=side, min_score=settings.min_detection_score, batch_size=settings.batch_size
        )

    found = look(pictures, side=settings.detection_side)
    again = [
        index
        for index, faces in enumerate(found)
        if not faces and settings.second_side > settings.detection_side < max(pictures[index].shape)
    ]
    second = look([pictures[index] for index in again], side=settings.second_side)
    for index, faces in zip(again, second, strict=True):
        found[index] = faces
    return found


def _open_all(rows: Iterable[dict[str, Any]], *, store: Store, settings: FaceSettings) -> Iterator[Opened]:
    for row in rows:
        content = store.pictures.get(row["image_id"])
        try:
            pixels = decode_rgb(content, orientation=row["orientation"], max_pixels=settings.max_pixels)
        except PictureError as error:
            yield Opened(row, None, error.reason)
        else:
            yield Opened(row, pixels)


def _batches(pictures: Iterable[Opened], *, size: int) -> Iterator[list[Opened]]:
    """Lists of `size` pictures, fewer where they are large."""
    batch: list[Opened] = []
    pixels = 0
    for opened in pictures:
        batch.append(opened)
        pixels += 0 if opened.pixels is None else opened.pixels.size // 3
        if len(batch) == size or pixels > _PIXELS_AT_ONCE:
            yield batch
            batch, pixels = [], 0
    if batch:
        yield batch


def _rows(
    opened: Opened,
    faces: list[Detection],
    chosen: Mapping[int, Detection],
    *,
    target: Points,
    store: Store,
    settings: FaceSettings,
) -> Iterator[dict[str, Any]]:
    """The rows of a picture: one of each of the `chosen` faces, by number, or one that says why there is
    none.

    Args:
        faces: all that were found.
    """
    empty: dict[str, Any] = {
        **{name: opened.row[name] for name in _TAKEN_OVER},
        "face": -1,
        "reason": opened.reason or "no_face",
        "faces_found": len(faces),
        **dict.fromkeys(_OF_A_FACE),
    }
    if opened.pixels is None or not chosen:
        yield empty
        return
    size = (opened.pixels.shape[0], opened.pixels.shape[1])
    for number, face in chosen.items():
        alignment = align(face.landmarks, target, picture_size=size, crop_size=settings.crop_size)
        pose = estimated_pose(face.landmarks)
        pixels = crop(opened.pixels, alignment.matrix, crop_size=settings.crop_size)
        sharpness = face_sharpness(pixels, matrix=alignment.matrix, target=target, picture_size=size)
        reason = first_reason(face, alignment, pose, settings, sharpness=sharpness, faces_found=len(faces))
        yield empty | {
            "face": number,
            "reason": reason,
            "box": face.box.tolist(),
            "landmarks": face.landmarks.ravel().tolist(),
            "detection_score": face.score,
            "residual_px": alignment.residual,
            "eye_distance_px": face.eye_distance,
            "roll_degrees": alignment.roll,
            "yaw_degrees": pose.yaw,
            "pitch_degrees": pose.pitch,
            "sharpness": sharpness,
            "border_fraction": alignment.border,
            "crop_sha256": store.crops.put(_png(pixels)) if reason is None else None,
        }


def _png(pixels: Pixels) -> bytes:
    written, content = cv2.imencode(
        ".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, _PNG_COMPRESSION]
    )
    assert written
    return np.asarray(content).tobytes()
