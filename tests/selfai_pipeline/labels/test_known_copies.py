"""With a cache the same groups come out as without, and only new pictures are searched for copies."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from selfai_pipeline.labels.known_copies import days_without_copies, groups_of_copies
from selfai_pipeline.pictures import copies
from selfai_pipeline.pictures.measures import thumbnail_of
from selfai_pipeline.pictures.perceptual_hash import perceptual_hash
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Record, Snapshot, TableRef

Squares = list[np.ndarray[Any, np.dtype[np.uint8]]]
RULE = {"radius": 24, "least_correlation": 0.97}


def drawn(number: int) -> Squares:
    """Thumbnails of a picture, and of the same with the left, with the right and with both sides cut."""
    coarse = np.random.default_rng(number).integers(0, 256, (12, 12), dtype=np.uint8)
    picture = np.asarray(cv2.resize(coarse, (240, 240), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    views = [picture, picture[:, 11:], picture[:, :-11], picture[:, 6:-6]]
    return [thumbnail_of(np.ascontiguousarray(one)) for one in views]


def groups_of(squares: Squares, cache: Path | None) -> list[int]:
    hashes = [perceptual_hash(one) for one in squares]
    thumbnails = [one.tobytes() for one in squares]
    return groups_of_copies(hashes, thumbnails, cache=cache, **RULE).tolist()  # type: ignore[arg-type]


def test_new_pictures_find_their_copies_among_old_ones(tmp_path: Path) -> None:
    pictures = [drawn(number) for number in range(5)]
    old = [one[0] for one in pictures]
    assert groups_of(old, tmp_path) == [0, 1, 2, 3, 4]
    # In another order, with copies before and behind.
    more = [pictures[4][1], *reversed(old), pictures[0][2], pictures[0][1]]
    assert groups_of(more, tmp_path) == groups_of(more, None) == [0, 0, 2, 3, 4, 5, 5, 5]
    assert groups_of(more, tmp_path) == [0, 0, 2, 3, 4, 5, 5, 5]


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """How many pictures were searched for in how many others, each time."""
    found: list[tuple[int, int]] = []
    near = copies._near

    def counting(windows: Any, others: Any, *, same: bool) -> Any:
        found.append((len(windows), len(others)))
        return near(windows, others, same=same)

    monkeypatch.setattr(copies, "_near", counting)
    return found


def test_what_was_searched_is_not_searched_again(tmp_path: Path, searched: list[tuple[int, int]]) -> None:
    squares = [drawn(number)[0] for number in range(6)]
    groups_of(squares[:4], tmp_path)
    assert searched == [(4, 4)]
    groups_of(squares[:4], tmp_path)
    assert searched == [(4, 4)]
    groups_of(squares, tmp_path)
    assert sorted(searched[1:]) == [(2, 2), (2, 4), (4, 2)]


def test_pictures_that_pruning_has_kept_of_one_day_are_not_compared_again(
    searched: list[tuple[int, int]],
) -> None:
    """On the second day lies a copy of the first's; the other pictures are of no such day."""
    squares = [drawn(0)[0], drawn(1)[0], drawn(0)[1], drawn(2)[0], drawn(1)[2], drawn(3)[0]]
    hashes, thumbnails = [perceptual_hash(one) for one in squares], [one.tobytes() for one in squares]
    days = ["1", "1", "2", "2", None, None]
    found = groups_of_copies(hashes, thumbnails, days=days, **RULE)  # type: ignore[arg-type]
    assert found.tolist() == [0, 1, 0, 3, 1, 5]
    # The two of no day with each other, then those of a day with all before them, both ways.
    assert searched == [(2, 2), (2, 2), (2, 2), (2, 4), (4, 2)]


def pruned(store: Store, day: str, **settings: Any) -> TableRef:
    """A day of aligned_faces, made of one that was pruned so."""
    kept = store.tables.write([], asset="pruned_set", partition=day)
    faces = store.tables.write([], asset="aligned_faces", partition=day)
    store.tables.point(Record(kept, code_version="", settings=settings, inputs={}))
    inputs = {"pruned_set": {day: kept.sha256}}
    store.tables.point(Record(faces, code_version="", settings={}, inputs=inputs))
    return faces


def test_only_a_rule_that_finds_as_much_counts(store: Store) -> None:
    rules = {
        "2026-01-01": {"duplicate_radius": 24, "duplicate_correlation": 0.97},
        "2026-01-02": {"duplicate_radius": 30, "duplicate_correlation": 0.9},
        "2026-01-03": {"duplicate_radius": 20, "duplicate_correlation": 0.97},
        "2026-01-04": {"duplicate_radius": 24, "duplicate_correlation": 1.1},
        "2026-01-05": {},
    }
    refs = {day: pruned(store, day, **rule) for day, rule in rules.items()}
    unrecorded = store.tables.write([], asset="aligned_faces", partition="2026-01-06")
    faces = Snapshot({**refs, "2026-01-06": unrecorded})
    found = days_without_copies(faces, store, radius=24, least_correlation=0.97)
    assert found == {"2026-01-01", "2026-01-02"}


def test_a_group_that_lost_a_member_is_searched_again(tmp_path: Path) -> None:
    """The whole picture joins its left and its right part, which are no copies of each other."""
    middle, left, right, _ = drawn(0)
    apart = groups_of([left, right], None)
    assert groups_of([left, middle, right], tmp_path) == [0, 0, 0]
    assert groups_of([left, right], tmp_path) == apart == [0, 1]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"\x93NUMPY"])
def test_a_damaged_cache_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    squares = drawn(1)
    expected = groups_of(squares, tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)
    assert groups_of(squares, tmp_path) == expected
    assert groups_of(squares, tmp_path) == expected


def test_another_rule_has_a_cache_of_its_own(tmp_path: Path) -> None:
    middle, left, _, _ = drawn(2)
    hashes, thumbnails = [perceptual_hash(one) for one in (middle, left)], [middle.tobytes(), left.tobytes()]
    for correlation, expected in ((0.97, [0, 0]), (1.1, [0, 1]), (0.97, [0, 0])):
        found = groups_of_copies(hashes, thumbnails, radius=8, least_correlation=correlation, cache=tmp_path)
        assert found.tolist() == expected
