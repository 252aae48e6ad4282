"""With a cache the same groups come out as without, and only new pictures are searched for copies."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from selfai_pipeline.labels.known_copies import groups_of_copies
from selfai_pipeline.pictures import copies
from selfai_pipeline.pictures.measures import thumbnail_of
from selfai_pipeline.pictures.perceptual_hash import perceptual_hash

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


def test_what_was_searched_is_not_searched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[tuple[int, int]] = []
    search = copies._candidates

    def counting(thumbnails: Any, others: Any) -> Any:
        searched.append((len(thumbnails), len(others)))
        return search(thumbnails, others)

    monkeypatch.setattr(copies, "_candidates", counting)
    squares = [drawn(number)[0] for number in range(6)]
    groups_of(squares[:4], tmp_path)
    groups_of(squares[:4], tmp_path)
    groups_of(squares, tmp_path)
    assert [first * second for first, second in searched] == [16, 0, 0, 2 * 6, 4 * 2]


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
