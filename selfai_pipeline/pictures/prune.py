"""Prune a day: decide which crawled pictures go on, and record why the others do not."""

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

from selfai_pipeline.pictures.duplicates import duplicate_groups
from selfai_pipeline.pictures.examine import AsShown, Examined, examine_all, measured_by
from selfai_pipeline.pictures.settings import PruneSettings
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef

logger = logging.getLogger("selfai.pictures")

_COLUMNS = ["image_id", "url", "source", "status", "reason", "orientation"]


def prune_day(crawl: TableRef, *, store: Store, settings: PruneSettings) -> TableRef:
    """The pruned set of a day: one row a stored picture of `crawl` (a version of `raw_crawl`).

    A picture is decoded once (in two orientations twice), or not at all where the current version of the day
    holds its measures (see `examine_all`); the table is the same either way. The first rule that it breaks
    is its reason, in the order of `first_reason`. Of the pictures that break none, each group of
    near-duplicates keeps one: that with the most pixels, of equal ones that with the smallest image_id.

    Where one picture was stored from several addresses, one row stands for it and the others are
    exact_duplicate: the first in the order of (source, url), of those with an orientation other than 1 where
    there are any. Such a row comes from a file that carried its orientation; the same bytes without one are
    a copy that lost it and lies on its side.

    Rows are sorted by (image_id, source, url). Facts: `counts` by outcome, `crawled` (the crawl's counts by
    outcome), `measured_by` (the code that the values come from), `state` pruned or empty.

    Raises:
        MissingVersion, AlteredVersion: a stored picture is gone, or its bytes are not what its name says.
    """
    crawled = store.tables.read(crawl, _COLUMNS).to_pylist()
    stored = [row for row in crawled if row["status"] == "stored"]
    stored.sort(key=lambda row: (row["image_id"], row["source"], row["url"]))
    standing: dict[str, dict[str, Any]] = {}
    for row in sorted(stored, key=lambda row: _as_shown(row)[1] == 1):
        standing.setdefault(row["image_id"], row)
    examined = examine_all(
        {_as_shown(row) for row in stored}, partition=crawl.partition, store=store, settings=settings
    )
    pictures = [examined[_as_shown(row)] for row in standing.values()]
    reasons = {one.image_id: one.reason or first_reason(one, settings) for one in pictures}
    good = [one for one in pictures if reasons[one.image_id] is None]
    kept_instead = near_duplicates(good, settings)
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
        facts={
            "counts": dict(sorted(counts.items())),
            "crawled": dict(sorted(Counter(row["reason"] or row["status"] for row in crawled).items())),
            "measured_by": measured_by(),
            "state": state,
        },
    )
    logger.info("pruned %s: %s", crawl.partition, summary(counts, good="kept"))
    return ref


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
        ("colourless", measures.saturation < settings.min_saturation),
        ("letter_boxed", measures.border > settings.max_border),
        ("screenshot", measures.screenshot > settings.max_screenshot),
        ("collage", measures.collage > settings.max_collage),
    )
    return next((reason for reason, broken in rules if broken), None)


def near_duplicates(pictures: list[Examined], settings: PruneSettings) -> dict[str, str]:
    """image_id -> the image_id that is kept in its place, for every picture that has to go.

    Args:
        pictures: decoded ones, each image_id once.
        settings: `duplicate_radius` and `duplicate_correlation` say what a copy is.
    """
    ordered = sorted(pictures, key=lambda one: (-one.width * one.height, one.image_id))
    groups = duplicate_groups(
        [one.perceptual_hash for one in ordered],
        [one.thumbnail for one in ordered],
        radius=settings.duplicate_radius,
        least_correlation=settings.duplicate_correlation,
    )
    return {
        one.image_id: ordered[first].image_id
        for index, (one, first) in enumerate(zip(ordered, groups.tolist(), strict=True))
        if first != index
    }


def summary(counts: Mapping[str, int], *, good: str) -> str:
    """Counts by outcome in words: `96 kept of 118 (12 blurred, 10 near_duplicate)`."""
    others = ", ".join(f"{n} {reason}" for reason, n in sorted(counts.items()) if reason != good)
    text = f"{counts.get(good, 0)} {good} of {sum(counts.values())}"
    return f"{text} ({others})" if others else text


def _as_shown(row: Mapping[str, Any]) -> AsShown:
    return row["image_id"], row["orientation"] or 1


def _row(
    crawled: Mapping[str, Any], picture: Examined, *, reason: str | None, duplicate_of: str | None
) -> dict[str, Any]:
    return {
        **{name: crawled[name] for name in ("image_id", "url", "source")},
        "kept": reason is None,
        "reason": reason,
        "duplicate_of": duplicate_of,
        "orientation": picture.orientation,
        **picture.columns(),
    }
