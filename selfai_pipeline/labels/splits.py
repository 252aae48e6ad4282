"""Train, validation and test: by group of near-duplicates or of one person, drawn by hash.

A group's side depends on the seed and on its name alone, which is its earliest picture. So pictures and
ratings that come in later (of days after it) do not move a group, with these exceptions: a picture that links
two groups, which then follow the earlier one's name; a picture or row that brings a given split with it; and
the first given validation picture, after which none are drawn from the given training pictures. What a
backfill adds to a group's own day or to one before it can move it, as can the removal of its earliest
picture, other shares, or another radius.
"""

import hashlib
from collections.abc import Collection, Sequence
from enum import StrEnum
from pathlib import Path

import numpy as np

from selfai_pipeline.labels.known_copies import groups_of_copies
from selfai_pipeline.pictures.duplicates import connected


class Split(StrEnum):
    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


SPELLINGS = {
    "train": Split.TRAIN,
    "training": Split.TRAIN,
    "validation": Split.VALIDATION,
    "valid": Split.VALIDATION,
    "val": Split.VALIDATION,
    "dev": Split.VALIDATION,
    "test": Split.TEST,
    "testing": Split.TEST,
}


def parse_split(text: str) -> Split | None:
    """A split as files spell it; None where it is none."""
    return SPELLINGS.get(text.strip().lower())


def clusters_of(
    image_ids: Sequence[str],
    *,
    hashes: Sequence[bytes | None],
    thumbnails: Sequence[bytes | None],
    persons: Sequence[Sequence[str]],
    days: Sequence[str],
    radius: int,
    least_correlation: float,
    pruned_days: Collection[str] = (),
    cache: Path | None = None,
) -> list[str]:
    """The earliest image_id of each picture's group: near-duplicates, one person, and what these link.

    Args:
        image_ids: n different ids.
        hashes: a perceptual hash each, all of one length; a picture without one has no near-duplicates.
        thumbnails: the luma that copies are verified on, each; None where there is none.
        persons: the persons that each picture shows, by name.
        days: the partition that each picture is first of; among pictures of one day the smallest id is the
            earliest.
        radius, least_correlation: what near-duplicates are, see `duplicate_groups`.
        pruned_days: those of which pruning has kept no two near-duplicates; pairs of such a day are not
            searched.
        cache: folder that keeps which pictures are copies, so that the next search is for new ones alone.
    """
    links: list[tuple[int, int]] = []
    hashed = [(row, value) for row, value in enumerate(hashes) if value is not None]
    if hashed:
        rows = [row for row, _ in hashed]
        nearest = groups_of_copies(
            [value for _, value in hashed],
            [thumbnails[row] for row in rows],
            radius=radius,
            least_correlation=least_correlation,
            days=[days[row] if days[row] in pruned_days else None for row in rows],
            cache=cache,
        )
        links += [(row, rows[first]) for row, first in zip(rows, nearest.tolist(), strict=True)]
    first_of: dict[str, int] = {}
    for row, names in enumerate(persons):
        links += [(row, first_of.setdefault(name, row)) for name in names]
    component = connected(len(image_ids), np.array(links, dtype=np.int64).reshape(-1, 2)).tolist()
    earliest: dict[int, tuple[str, str]] = {}
    for image_id, day, group in zip(image_ids, days, component, strict=True):
        earliest[group] = min((day, image_id), earliest.get(group, (day, image_id)))
    return [earliest[group][1] for group in component]


def draw_split(cluster: str, *, test_share: float, validation_share: float, seed: int = 0) -> Split:
    """The side of a cluster: uniform by SHA-256 of seed and name."""
    digest = hashlib.sha256(f"{seed}:{cluster}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    if position < test_share:
        return Split.TEST
    return Split.VALIDATION if position < test_share + validation_share else Split.TRAIN


def assign_splits(
    clusters: Sequence[str],
    *,
    given: Sequence[Split | None],
    test_share: float,
    validation_share: float,
    seed: int = 0,
) -> list[Split | None]:
    """The side of each picture; None where it has to be left out.

    A given split is kept. Where a cluster has pictures on several given sides, those of test stay and the
    others are left out (of validation and train, those of train), so that nothing is tested on what was
    trained on; its pictures without a given side follow. Where no picture is given for validation, the given
    training clusters yield it by hash, in the proportion that validation has to train otherwise. All other
    clusters are drawn.
    """
    rank = [Split.TEST, Split.VALIDATION, Split.TRAIN]
    side_of: dict[str, Split] = {}
    for cluster, side in zip(clusters, given, strict=True):
        if side is not None:
            side_of[cluster] = min(side, side_of.get(cluster, side), key=rank.index)
    no_validation = Split.VALIDATION not in given
    inner = validation_share / (1 - test_share)
    sides: list[Split | None] = []
    for cluster, own in zip(clusters, given, strict=True):
        side = side_of.get(cluster)
        if side is None:
            side = draw_split(cluster, test_share=test_share, validation_share=validation_share, seed=seed)
        elif own is not None and own is not side:
            sides.append(None)
            continue
        elif side is Split.TRAIN and no_validation:
            side = draw_split(cluster, test_share=0, validation_share=inner, seed=seed)
        sides.append(side)
    return sides
