"""Splits go by cluster and by hash: nothing crosses, and further data moves nobody."""

import hashlib

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfai_pipeline.labels.splits import Split, assign_splits, clusters_of, draw_split, parse_split
from selfai_pipeline.pictures.measures import measured_luma, thumbnail_of

SHARES = {"test_share": 0.2, "validation_share": 0.16}


def ids(count: int) -> list[str]:
    return [hashlib.sha256(str(k).encode()).hexdigest() for k in range(count)]


def flipped(value: bytes, bits: int) -> bytes:
    """`value` with its first bits turned over."""
    return bytes(byte ^ (255 if 8 * k < bits else 0) for k, byte in enumerate(value))


def test_the_shares_are_those_asked_for() -> None:
    drawn = [draw_split(name, **SHARES) for name in ids(20_000)]
    assert drawn.count(Split.TEST) / 20_000 == pytest.approx(0.2, abs=0.01)
    assert drawn.count(Split.VALIDATION) / 20_000 == pytest.approx(0.16, abs=0.01)


def test_another_seed_draws_other_splits() -> None:
    names = ids(200)
    assert [draw_split(n, **SHARES) for n in names] != [draw_split(n, **SHARES, seed=1) for n in names]


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 60), more=st.integers(0, 60))
def test_further_pictures_move_nobody(count: int, more: int) -> None:
    names = ids(count + more)
    before = assign_splits(names[:count], given=[None] * count, **SHARES)
    after = assign_splits(names, given=[None] * (count + more), **SHARES)
    assert after[:count] == before


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcdefgh"), st.sampled_from([None, Split.TRAIN, Split.VALIDATION, Split.TEST])
        ),
        max_size=40,
    )
)
def test_no_cluster_crosses_and_given_sides_hold(rows: list[tuple[str, Split | None]]) -> None:
    clusters = [cluster for cluster, _ in rows]
    given_sides = [side for _, side in rows]
    sides = assign_splits(clusters, given=given_sides, **SHARES)
    kept = {(cluster, side) for cluster, side in zip(clusters, sides, strict=True) if side is not None}
    assert len(kept) == len(set(clusters))
    for own, side in zip(given_sides, sides, strict=True):
        if own is Split.TEST:
            assert side is Split.TEST
        if own is Split.VALIDATION:
            assert side in (Split.VALIDATION, None)
        if own is Split.TRAIN:
            assert side is not Split.TEST
        if own is None:
            assert side is not None


def test_validation_is_taken_from_the_given_training_pictures_where_none_is_given() -> None:
    names = ids(3000)
    given_sides: list[Split | None] = [Split.TRAIN] * 2400 + [Split.TEST] * 600
    sides = assign_splits(names, given=given_sides, **SHARES)
    assert sides[2400:] == [Split.TEST] * 600
    assert sides[:2400].count(Split.VALIDATION) / 2400 == pytest.approx(0.2, abs=0.03)
    assert Split.TEST not in sides[:2400]


def test_a_given_validation_split_is_not_added_to() -> None:
    names = ids(300)
    given_sides: list[Split | None] = [Split.TRAIN] * 200 + [Split.VALIDATION] * 50 + [Split.TEST] * 50
    assert assign_splits(names, given=given_sides, **SHARES) == given_sides


def test_a_training_picture_that_doubles_a_given_test_picture_is_left_out() -> None:
    sides = assign_splits(
        ["a", "a", "a", "b"], given=[Split.TRAIN, Split.TEST, None, Split.VALIDATION], **SHARES
    )
    assert sides == [None, Split.TEST, Split.TEST, Split.VALIDATION]


@pytest.mark.parametrize(
    ("text", "split"),
    [("train", Split.TRAIN), ("Training", Split.TRAIN), (" val ", Split.VALIDATION), ("TEST", Split.TEST)],
)
def test_the_ways_to_write_a_split(text: str, split: Split) -> None:
    assert parse_split(text) is split


def test_what_is_no_split_is_none() -> None:
    assert parse_split("3") is None


def test_near_duplicates_and_pictures_of_one_person_share_a_cluster() -> None:
    names = sorted(ids(6))
    base = bytes(range(32))
    clusters = clusters_of(
        names,
        hashes=[base, flipped(base, 16), flipped(base, 128), None, None, None],
        persons=[[], ["X"], [], ["X"], ["Y"], []],
        days=["2026-01-02", "2026-01-02", "2026-01-02", "2026-01-01", "2026-01-02", "2026-01-02"],
        thumbnails=[None] * 6,
        radius=24,
        least_correlation=1.0,
    )
    # 0 and 1 look alike, 1 and 3 are one person, 3 is the earliest; 2 is too far away, 4 and 5 have nobody.
    assert clusters == [names[3], names[3], names[2], names[3], names[4], names[5]]


def test_a_near_duplicate_of_a_later_day_renames_no_group() -> None:
    names = sorted(ids(40))
    base = bytes(range(32))
    later, first = names[0], names[1:]

    before = clusters_of(
        first,
        hashes=[base] * 39,
        thumbnails=[None] * 39,
        persons=[[]] * 39,
        days=["2026-01-01"] * 39,
        radius=8,
        least_correlation=1.0,
    )
    after = clusters_of(
        [later, *first],
        hashes=[base] * 40,
        persons=[[]] * 40,
        days=["2026-01-02", *["2026-01-01"] * 39],
        thumbnails=[None] * 40,
        radius=8,
        least_correlation=1.0,
    )
    assert after == [before[0], *before]


@settings(max_examples=25, deadline=None)
@given(
    hashes=st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=12),
    radius=st.integers(0, 140),
    seed=st.randoms(use_true_random=False),
)
def test_clusters_do_not_depend_on_the_order(hashes: list[bytes], radius: int, seed: object) -> None:
    names = ids(len(hashes))
    persons = [[str(k % 5)] if k % 3 == 0 else [] for k in range(len(hashes))]
    days = [f"2026-01-0{1 + k % 3}" for k in range(len(hashes))]
    # One drawing, its mirror image and its left part are copies of each other; the others are not.
    drawn = scene(1)
    shown = [drawn, drawn[:, ::-1], drawn[:, :190], scene(2), None]
    thumbnails = [None if one is None else thumbnail(one) for one in (shown * 3)[: len(hashes)]]
    known = {"persons": persons, "days": days, "hashes": hashes, "thumbnails": thumbnails}

    def clusters_in(order: list[int]) -> dict[str, str]:
        found = clusters_of(
            [names[k] for k in order],
            **{name: [values[k] for k in order] for name, values in known.items()},  # type: ignore[arg-type]
            radius=radius,
            least_correlation=0.97,
        )
        return dict(zip([names[k] for k in order], found, strict=True))

    first = clusters_in(list(range(len(hashes))))
    order = list(range(len(hashes)))
    seed.shuffle(order)  # type: ignore[attr-defined]
    assert clusters_in(order) == first
    if len(hashes) > 2:
        assert len({first[name] for name in names[:3]}) == 1


def scene(seed: int) -> npt.NDArray[np.uint8]:
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (200, 200), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def thumbnail(pixels: npt.NDArray[np.uint8]) -> bytes:
    return thumbnail_of(measured_luma(np.ascontiguousarray(pixels))).tobytes()
