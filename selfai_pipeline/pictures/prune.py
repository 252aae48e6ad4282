"""Prune a day: decide which crawled pictures go on, and record why the others do not."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from selfai_pipeline.environment import usable_cores
from selfai_pipeline.pictures.decoding import PictureError, decode_rgb
from selfai_pipeline.pictures.duplicates import near_duplicate_clusters
from selfai_pipeline.pictures.measures import MEASURED_SIDE, Measures, measure, shrink
from selfai_pipeline.pictures.perceptual_hash import HASH_BYTES, perceptual_hash
from selfai_pipeline.pictures.settings import PruneSettings
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef

logger = logging.getLogger("selfai.pictures")

_COLUMNS = ["image_id", "url", "source", "status", "orientation"]
_MEASURED = ["width", "height", "brightness", "contrast", "blur", "entropy", "saturation", "aspect"]
_MEASURED += ["bits_per_pixel", "perceptual_hash"]


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

    @property
    def aspect(self) -> float:
        return max(self.width, self.height) / min(self.width, self.height)


def prune_day(crawl: TableRef, *, store: Store, settings: PruneSettings) -> TableRef:
    """The pruned set of a day: one row a stored picture of `crawl` (a version of `raw_crawl`).

    A picture is decoded once (in two orientations twice). The first rule that it breaks is its reason, in
    the order of `first_reason`. Of the pictures that break none, each group of near-duplicates keeps one:
    that with the most pixels, of equal ones that with the smallest image_id.

    Where one picture was stored from several addresses, one row stands for it and the others are
    exact_duplicate: the first in the order of (source, url), of those with an orientation other than 1 where
    there are any. Such a row comes from a file that carried its orientation; the same bytes without one are
    a copy that lost it and lies on its side.

    Rows are sorted by (image_id, source, url). Facts: `counts` by outcome, `state` pruned or empty.

    Raises:
        MissingVersion, AlteredVersion: a stored picture is gone, or its bytes are not what its name says.
    """
    stored = [row for row in store.tables.read(crawl, _COLUMNS).to_pylist() if row["status"] == "stored"]
    stored.sort(key=lambda row: (row["image_id"], row["source"], row["url"]))
    standing: dict[str, dict[str, Any]] = {}
    for row in sorted(stored, key=lambda row: _as_shown(row)[1] == 1):
        standing.setdefault(row["image_id"], row)
    examined = _examine_all({_as_shown(row) for row in stored}, store=store, settings=settings)
    pictures = [examined[_as_shown(row)] for row in standing.values()]
    reasons = {one.image_id: one.reason or first_reason(one, settings) for one in pictures}
    good = [one for one in pictures if reasons[one.image_id] is None]
    kept_instead = near_duplicates(good, radius=settings.duplicate_radius)
    rows = []
    for row in stored:
        image_id = row["image_id"]
        reason, duplicate_of = reasons[image_id], kept_instead.get(image_id)
        if reason is None and row is not standing[image_id]:
            reason, duplicate_of = "exact_duplicate", duplicate_of or image_id
        elif duplicate_of is not None:
            reason = "near_duplicate"
        rows.append(_row(row, examined[_as_shown(row)], reason=reason, duplicate_of=duplicate_of))
    counts = Counter(row["reason"] or "kept" for row in rows)
    state = "pruned" if rows else "empty"
    ref = store.tables.write(
        rows,
        asset="pruned_set",
        partition=crawl.partition,
        facts={"counts": dict(sorted(counts.items())), "state": state},
    )
    logger.info("pruned %s: %s", crawl.partition, summary(counts, good="kept"))
    return ref


def examine(content: bytes, *, image_id: str, orientation: int, max_pixels: int) -> Examined:
    """Decode and measure one picture; what cannot be decoded is an outcome, not an error."""
    try:
        pixels = decode_rgb(content, orientation=orientation, max_pixels=max_pixels)
    except PictureError as error:
        return Examined(image_id, orientation, reason=error.reason)
    height, width = pixels.shape[:2]
    small = shrink(pixels, side=MEASURED_SIDE)
    return Examined(
        image_id,
        orientation,
        width=width,
        height=height,
        bits_per_pixel=8 * len(content) / (width * height),
        measures=measure(small),
        perceptual_hash=perceptual_hash(small),
    )


def first_reason(picture: Examined, settings: PruneSettings) -> str | None:
    """The first rule that a decoded picture breaks, or None."""
    measures = picture.measures
    if measures is None:
        raise ValueError("a picture that was not decoded has its reason already")
    rules = (
        ("too_small", min(picture.width, picture.height) < settings.min_side),
        ("extreme_aspect", picture.aspect > settings.max_aspect),
        ("too_dark", measures.brightness < settings.min_brightness),
        ("too_bright", measures.brightness > settings.max_brightness),
        ("low_contrast", measures.contrast < settings.min_contrast),
        ("low_information", measures.entropy < settings.min_entropy),
        ("blurred", measures.blur < settings.min_blur),
        ("heavily_compressed", picture.bits_per_pixel < settings.min_bits_per_pixel),
    )
    return next((reason for reason, broken in rules if broken), None)


def near_duplicates(pictures: list[Examined], *, radius: int) -> dict[str, str]:
    """image_id -> the image_id that is kept in its place, for every picture that has to go.

    Args:
        pictures: decoded ones, each image_id once.
        radius: bits of 256.
    """
    ordered = sorted(pictures, key=lambda one: (-one.width * one.height, one.image_id))
    hashes = np.frombuffer(b"".join(one.perceptual_hash for one in ordered), dtype=np.uint8)
    clusters = near_duplicate_clusters(hashes.reshape(-1, HASH_BYTES), radius=radius)
    return {
        one.image_id: ordered[first].image_id
        for index, (one, first) in enumerate(zip(ordered, clusters.tolist(), strict=True))
        if first != index
    }


def summary(counts: Mapping[str, int], *, good: str) -> str:
    """Counts by outcome in words: `96 kept of 118 (12 blurred, 10 near_duplicate)`."""
    others = ", ".join(f"{n} {reason}" for reason, n in sorted(counts.items()) if reason != good)
    text = f"{counts.get(good, 0)} {good} of {sum(counts.values())}"
    return f"{text} ({others})" if others else text


def _as_shown(row: Mapping[str, Any]) -> tuple[str, int]:
    """(image_id, orientation) of a crawled row: what it takes to show the picture upright."""
    return row["image_id"], row["orientation"] or 1


def _examine_all(
    pictures: Iterable[tuple[str, int]], *, store: Store, settings: PruneSettings
) -> dict[tuple[str, int], Examined]:
    def one(picture: tuple[str, int]) -> Examined:
        image_id, orientation = picture
        content = store.pictures.get(image_id)
        return examine(content, image_id=image_id, orientation=orientation, max_pixels=settings.max_pixels)

    ordered = sorted(pictures)
    with ThreadPoolExecutor(settings.workers or usable_cores(), thread_name_prefix="prune") as pool:
        return dict(zip(ordered, pool.map(one, ordered), strict=True))


def _row(
    crawled: Mapping[str, Any], picture: Examined, *, reason: str | None, duplicate_of: str | None
) -> dict[str, Any]:
    row: dict[str, Any] = {
        **{name: crawled[name] for name in ("image_id", "url", "source")},
        "kept": reason is None,
        "reason": reason,
        "duplicate_of": duplicate_of,
        "orientation": picture.orientation,
        **dict.fromkeys(_MEASURED),
    }
    if picture.measures is not None:
        row |= asdict(picture.measures)
        row |= {
            "width": picture.width,
            "height": picture.height,
            "aspect": picture.aspect,
            "bits_per_pixel": picture.bits_per_pixel,
            "perceptual_hash": picture.perceptual_hash,
        }
    return row
