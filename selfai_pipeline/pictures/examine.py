"""Decode and measure the stored pictures of a day, or take over what was measured before."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from typing import Any

import cv2

from selfai_pipeline.environment import usable_cores
from selfai_pipeline.errors import AlteredVersion, MissingVersion
from selfai_pipeline.pictures.decoding import PictureError, decode_shrunk
from selfai_pipeline.pictures.measures import (
    MEASURED_SIDE,
    MEASURES,
    Measures,
    measure,
    measured_luma,
    thumbnail_of,
)
from selfai_pipeline.pictures.perceptual_hash import perceptual_hash
from selfai_pipeline.pictures.settings import PruneSettings
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef

logger = logging.getLogger("selfai.pictures")

MEASURED = [
    *("width", "height", "aspect", "bits_per_pixel"),
    *(field.name for field in fields(Measures)),
    *("perceptual_hash", "thumbnail"),
]
"""Columns of `pruned_set` that a picture has once it was decoded."""

AsShown = tuple[str, int]
"""(image_id, orientation): what it takes to show a stored picture upright."""


@dataclass(frozen=True)
class Examined:
    """What is known about one stored picture; `reason` says why it has no measures, where it has none."""

    image_id: str
    orientation: int
    reason: str | None = None
    width: int = 0
    height: int = 0
    bits_per_pixel: float = 0.0
    measures: Measures | None = None
    perceptual_hash: bytes = b""
    thumbnail: bytes = b""

    @property
    def aspect(self) -> float:
        return max(self.width, self.height) / min(self.width, self.height)

    def columns(self) -> dict[str, Any]:
        """The values of `MEASURED`; None each where it was not decoded."""
        if self.measures is None:
            return dict.fromkeys(MEASURED)
        known = {**asdict(self.measures), "aspect": self.aspect}
        return {name: known[name] if name in known else getattr(self, name) for name in MEASURED}


def measured_by() -> str:
    """The code that values come from: this project's, and the libraries that decode and count."""
    libraries = ("opencv-python-headless", "simplejpeg", "pillow", "numpy")
    return ", ".join([f"measures {MEASURES}", *(f"{name} {version(name)}" for name in libraries)])


def examine(content: bytes, *, image_id: str, orientation: int, max_pixels: int) -> Examined:
    """Decode and measure one picture; what cannot be decoded is an outcome, not an error."""
    try:
        shrunk = decode_shrunk(content, orientation=orientation, max_pixels=max_pixels, side=MEASURED_SIDE)
    except PictureError as error:
        return Examined(image_id, orientation, reason=error.reason)
    luma = measured_luma(shrunk.pixels)
    thumbnail = thumbnail_of(luma)
    return Examined(
        image_id,
        orientation,
        width=shrunk.width,
        height=shrunk.height,
        bits_per_pixel=8 * len(content) / (shrunk.width * shrunk.height),
        measures=measure(shrunk.pixels, luma),
        perceptual_hash=perceptual_hash(thumbnail),
        thumbnail=thumbnail.tobytes(),
    )


def examine_all(
    pictures: Iterable[AsShown], *, partition: str, store: Store, settings: PruneSettings
) -> dict[AsShown, Examined]:
    """Each picture examined, by `settings.workers` threads.

    What the current pruned set of the day knows is taken over where it was measured by the same code: a
    picture's bytes are its name, so the values are the same. Then thresholds are applied without decoding.

    Raises:
        MissingVersion, AlteredVersion: a stored picture is gone, or its bytes are not what its name says.
    """
    known = _known(partition, store=store, settings=settings)

    def one(picture: AsShown) -> Examined:
        image_id, orientation = picture
        if picture in known and image_id in store.pictures:
            return known[picture]
        content = store.pictures.get(image_id)
        return examine(content, image_id=image_id, orientation=orientation, max_pixels=settings.max_pixels)

    ordered = sorted(pictures)
    workers = settings.workers or usable_cores()
    with one_thread_a_call(), ThreadPoolExecutor(workers, thread_name_prefix="prune") as pool:
        found = dict(zip(ordered, pool.map(one, ordered), strict=True))
    taken_over = sum(found[picture] is known.get(picture) for picture in ordered)
    if taken_over:
        logger.info("pruning %s: %d of %d pictures were measured before", partition, taken_over, len(ordered))
    return found


@contextmanager
def one_thread_a_call() -> Iterator[None]:
    """OpenCV's own threads switched off: the pictures go over the cores, and both at once gain nothing."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _known(partition: str, *, store: Store, settings: PruneSettings) -> dict[AsShown, Examined]:
    """What the current pruned set holds of pictures that were decoded, if the same code measured them."""
    columns = ["image_id", "orientation", *MEASURED]
    try:
        record = store.tables.current("pruned_set", partition)
        if record is None or not isinstance(record.ref, TableRef):
            return {}
        if store.tables.facts(record.ref).get("measured_by") != measured_by():
            return {}
        rows = store.tables.read(record.ref, columns).to_pylist()
    except (MissingVersion, AlteredVersion) as error:
        # The version that is made now is what mends it.
        logger.warning("pruning %s measures every picture again: %s", partition, error)
        return {}
    return {
        (row["image_id"], row["orientation"]): _from_row(row)
        for row in rows
        if row["width"] is not None and row["width"] * row["height"] <= settings.max_pixels
    }


def _from_row(row: Mapping[str, Any]) -> Examined:
    plain = {field.name for field in fields(Examined)} & set(row)
    measures = Measures(**{field.name: row[field.name] for field in fields(Measures)})
    return Examined(**{name: row[name] for name in plain}, measures=measures)
