"""Align a day: find the face of each kept picture and store its crop, or record why there is none."""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from selfai_pipeline.faces.alignment import Points, align, template
from selfai_pipeline.faces.detector import Detector, Pixels
from selfai_pipeline.faces.finding import Row, Seen, over_pictures
from selfai_pipeline.faces.pose import estimated_pose
from selfai_pipeline.faces.rules import first_reason
from selfai_pipeline.faces.settings import FaceSettings
from selfai_pipeline.faces.sharpness import face_sharpness
from selfai_pipeline.pictures.prune import summary
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef, table_of

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger("selfai.faces")

_TAKEN_OVER = ["image_id", "source", "url", "perceptual_hash", "thumbnail"]
"""Columns of the pruned set that a face has too. Only the table has them: no process that looks for faces."""

_OF_A_FACE = [
    *("box", "landmarks", "detection_score", "residual_px", "eye_distance_px", "roll_degrees"),
    *("yaw_degrees", "pitch_degrees", "sharpness", "border_fraction", "crop_sha256"),
]
_FOUND = ["face", "reason", "faces_found", *_OF_A_FACE]
AS_PNG = [
    *(cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
]
"""Of the ways to write a crop the one that is fastest to write and to read of those that are as small."""

_BYTES_AT_ONCE = 2_000_000
"""Of a picture's crops in memory: of a crowd they are not kept until those of other pictures are stored."""


def align_day(pruned: TableRef, *, store: Store, detector: Detector, settings: FaceSettings) -> TableRef:
    """The aligned faces of a day: one row a kept picture of `pruned` (a version of `pruned_set`), or a face.

    Which faces of a picture count is a setting; `faces_found` tells how many there were, and a picture
    without one has a row that says why. A picture is decoded once, and a bounded number of pixels is in
    memory at a time. Reasons for no crop: no_face, several_faces, too_small_face, extreme_pose,
    bad_alignment, too_much_border, blurred_face (the first that holds, in this order), or that of the
    decoder.

    Rows are sorted by image_id, then by the number of the face: 0 is the largest of its picture. Facts:
    `counts` of rows by outcome, `found_by` (what ran the detector), `funnel` of pictures (see `funnel_of`),
    `state` aligned or empty, `template` (x, y of the five landmarks in crop pixels).

    Raises:
        MissingVersion, AlteredVersion: a stored picture is gone, or its bytes are not what its name says.
    """
    # Not at the top: worker processes import this module, and have no use for it.
    import pyarrow as pa

    # Worker processes know the library only, and no configuration of an asset.
    settings = FaceSettings(**settings.model_dump())
    kept = _kept(pruned, ["image_id", "orientation"], store=store).to_pylist()
    target = template(
        crop_size=settings.crop_size,
        eye_distance=settings.eye_distance,
        eye_height=settings.eye_height,
    )
    pictures = over_pictures(
        kept,
        partial(_cropped, target=target, store=store, settings=settings),
        partial(_stored, store=store),
        store=store,
        detector=detector,
        settings=settings,
    )
    places: list[int] = []
    with closing(pictures):
        found = table_of(_numbered(pictures, places), asset="aligned_faces", columns=_FOUND)
    faces = _kept(pruned, _TAKEN_OVER, store=store).take(pa.array(places, pa.int64()))
    for name in _FOUND:
        faces = faces.append_column(name, found[name])
    outcomes = faces.select(["image_id", "reason"]).to_pylist()
    counts = Counter(row["reason"] or "aligned" for row in outcomes)
    funnel = funnel_of(store.tables.facts(pruned), outcomes_of(outcomes))
    ref = store.tables.write(
        faces,
        asset="aligned_faces",
        partition=pruned.partition,
        facts={
            "counts": dict(sorted(counts.items())),
            "found_by": detector.engine.name,
            "funnel": funnel,
            "state": "aligned" if places else "empty",
            "template": target.tolist(),
        },
    )
    logger.info("aligned %s: %s", pruned.partition, summary(counts, good="aligned"))
    logger.info(
        "of the crawl of %s: %s", pruned.partition, ", ".join(f"{n} {step}" for step, n in _steps(funnel))
    )
    return ref


def _kept(pruned: TableRef, columns: list[str], *, store: Store) -> "pa.Table":
    """The rows of the pictures that were kept, sorted by image_id."""
    table = store.tables.read(pruned, [*columns, "kept"])
    return table.filter(table["kept"]).sort_by("image_id").select(columns)


def _numbered(pictures: Iterable[list[Row]], places: list[int]) -> Iterator[Row]:
    """The rows of all pictures, while `places` is filled with the number of each row's picture."""
    for place, rows in enumerate(pictures):
        places += [place] * len(rows)
        yield from rows


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


@dataclass(frozen=True)
class _Cropped:
    """The rows of a picture, and those of its crops by their hash that are yet to be stored."""

    rows: list[Row]
    crops: dict[str, bytes]


def _stored(pictures: list[_Cropped], *, store: Store) -> list[list[Row]]:
    """Store the crops of several pictures; at once, as the disk is then waited for once."""
    store.crops.put_all({sha256: crop for one in pictures for sha256, crop in one.crops.items()})
    return [one.rows for one in pictures]


def _cropped(seen: Seen, *, target: Points, store: Store, settings: FaceSettings) -> _Cropped:
    """A row a face that counts, with its crop, or one that says why there is none."""
    picture = seen.picture
    empty: Row = {
        "face": -1,
        "reason": picture.reason or "no_face",
        "faces_found": seen.faces_found,
        **dict.fromkeys(_OF_A_FACE),
    }
    rows: list[Row] = []
    crops: dict[str, bytes] = {}
    for number, face in seen.faces.items():
        alignment = align(face.landmarks, target, picture_size=picture.size, crop_size=settings.crop_size)
        pose = estimated_pose(face.landmarks)
        pixels = picture.crop(alignment.matrix, crop_size=settings.crop_size)
        sharpness = face_sharpness(pixels, matrix=alignment.matrix, target=target, picture_size=picture.size)
        reason = first_reason(
            face, alignment, pose, settings, sharpness=sharpness, faces_found=seen.faces_found
        )
        sha256 = None
        if reason is None:
            crop = _png(pixels)
            sha256 = hashlib.sha256(crop).hexdigest()
            crops[sha256] = crop
        if sum(map(len, crops.values())) > _BYTES_AT_ONCE:
            store.crops.put_all(crops)
            crops = {}
        rows.append(
            empty
            | {
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
                "crop_sha256": sha256,
            }
        )
    return _Cropped(rows or [empty], crops)


def _png(pixels: Pixels) -> bytes:
    written, content = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), AS_PNG)
    assert written
    return np.asarray(content).tobytes()
