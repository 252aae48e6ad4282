"""Open the kept pictures of a day, a bounded number at a time, and find the faces of each."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from selfai_pipeline.faces.detector import Detection, Detector, Pixels
from selfai_pipeline.faces.settings import FaceSettings
from selfai_pipeline.pictures.decoding import PictureError, decode_rgb
from selfai_pipeline.store import Store

_PIXELS_AT_ONCE = 64_000_000
_BATCHES_AT_ONCE = 8
"""Pictures are opened some batches at a time, so that those of one shape find each other."""


@dataclass(frozen=True)
class Opened:
    """A kept row of the pruned set and its upright pixels, or the reason why it has none."""

    row: dict[str, Any]
    pixels: Pixels | None
    reason: str | None = None


def find_faces(
    rows: Iterable[dict[str, Any]], *, store: Store, detector: Detector, settings: FaceSettings
) -> Iterator[tuple[Opened, list[Detection]]]:
    """Each picture of `rows` (of the pruned set) with its faces, largest first, in the order of the rows.

    Raises:
        MissingVersion, AlteredVersion: a stored picture is gone, or its bytes are not what its name says.
    """
    opened = _open_all(rows, store=store, settings=settings)
    for batch in _batches(opened, size=_BATCHES_AT_ONCE * settings.batch_size):
        pictures = [one.pixels for one in batch if one.pixels is not None]
        found = iter(_find(pictures, detector=detector, settings=settings))
        for one in batch:
            yield one, [] if one.pixels is None else next(found)


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
