"""The training pixels: every crop decoded and resized once, then memory-mapped as uint8."""

import logging
import os
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from selfai_pipeline.errors import InputError, StorageError
from selfai_pipeline.storage import written_at
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef

logger = logging.getLogger("selfai.training")

Pixels = NDArray[np.uint8]

SECONDS_KEPT = 14 * 86400.0
SECONDS_OF_A_PART = 3600.0


@dataclass(frozen=True)
class Framing:
    """What a network sees of an aligned crop: its centre, `part` of the side, as `size` pixels a side.

    Aligned crops are loose, with hair and chin; a network of few pixels sees the face better without the
    background around it. Training, evaluation and serving all come through here: a network sees the same
    pixels everywhere.
    """

    size: int
    part: float = 1.0

    def __call__(self, crop: Pixels) -> Pixels:
        """A square RGB crop [s, s, 3] as [size, size, 3]."""
        side = crop.shape[0]
        border = round(side * (1.0 - self.part) / 2.0)
        border = min(border, (side - 1) // 2)
        return resize_crop(
            np.ascontiguousarray(crop[border : side - border, border : side - border]), self.size
        )


def resize_crop(crop: Pixels, size: int) -> Pixels:
    """A square RGB crop [s, s, 3] as [size, size, 3]; shrinking averages areas, enlarging is bilinear."""
    if crop.shape[0] == size and crop.shape[1] == size:
        return crop
    shrinks = crop.shape[0] >= size and crop.shape[1] >= size
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(crop, (size, size), interpolation=method), dtype=np.uint8)


def cache_path(labels: TableRef, *, store: Store, framing: Framing) -> Path:
    """Where the pixels of a label table lie; whoever removes a picture deletes the file, it is made again."""
    return store.home.cache / "pixels" / f"{labels.sha256}-{framing.size}-{framing.part!r}-planes.npy"


def load_pixels(labels: TableRef, *, store: Store, framing: Framing) -> Pixels:
    """The framed crops of the label table, [rows, size, size, 3] RGB uint8, read-only, in its order.

    The first call decodes the crops and writes the cache; later ones map it into memory. In the file, and so
    in memory, the three colours are a plane each, which augmentation samples from.

    Raises:
        InputError: the table is empty, or a crop is no picture.
        MissingVersion, AlteredVersion: a crop is missing or was altered.
        StorageError: the cache cannot be written.
    """
    path = cache_path(labels, store=store, framing=framing)
    shape = (labels.rows, 3, framing.size, framing.size)
    if path.exists():
        cached = _open(path)
        if cached is not None and cached.shape == shape and cached.dtype == np.uint8:
            return cached.transpose(0, 2, 3, 1)
        logger.warning("the pixel cache %s is damaged, it is made again", path.name)
    if labels.rows == 0:
        raise InputError(
            "the label table has no rows",
            where=labels.asset,
            mend="Import ratings, materialize the data stages, then the label table.",
        )
    hashes: list[str] = store.tables.read(labels, ["crop_sha256"])["crop_sha256"].to_pylist()
    logger.info("decoding %d crops to %d px", len(hashes), framing.size)
    part = path.with_suffix(f".{os.getpid()}-{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            planes = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
            for row, sha256 in enumerate(hashes):
                framed = framing(_decode(store.crops.get(sha256), row=row, labels=labels))
                planes[row] = framed.transpose(2, 0, 1)
            planes.flush()
            del planes
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written ({error.strerror or error}). Free some space or mend the permissions."
        ) from error
    _sweep(path)
    written = _open(path)
    if written is None:
        raise StorageError(f"{path}: cannot be read right after it was written. Check the disk.")
    return written.transpose(0, 2, 3, 1)


def _sweep(written: Path) -> None:
    """Delete caches that nothing has opened for two weeks, and what killed processes left half-written."""
    longest = {".npy": SECONDS_KEPT, ".part": SECONDS_OF_A_PART}
    for path, moment in written_at(written.parent.iterdir()).items():
        if path != written and time.time() - moment > longest.get(path.suffix, SECONDS_KEPT):
            path.unlink(missing_ok=True)


def _open(path: Path) -> Pixels | None:
    """The cached array, or None where the file is no whole array of numbers; notes that it was used."""
    try:
        array: Pixels = np.load(path, mmap_mode="r", allow_pickle=False)
        path.touch()
    except (ValueError, EOFError):
        return None
    return array


def _decode(content: bytes, *, row: int, labels: TableRef) -> Pixels:
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    if picture is None or picture.shape[0] != picture.shape[1]:
        raise InputError(
            "the crop is not a square picture",
            where=f"{labels.asset}, row {row}",
            mend="Materialize aligned_faces and the label table again.",
        )
    return np.asarray(picture, dtype=np.uint8)
