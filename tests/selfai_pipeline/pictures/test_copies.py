"""Cropped, mirrored and captioned copies are found; different pictures are not joined."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from selfai_pipeline.pictures.copies import Thumbnails, aligned_correlation, joining_pairs
from selfai_pipeline.pictures.duplicates import duplicate_groups, have_copies, near_duplicate_clusters
from selfai_pipeline.pictures.measures import Pixels, measured_luma, thumbnail_of
from selfai_pipeline.pictures.perceptual_hash import perceptual_hash
from selfai_pipeline.sources.gallery.attributes import draw_portrait_attributes
from selfai_pipeline.sources.gallery.portraits import render_portrait

RULE = {"radius": 24, "least_correlation": 0.97}


@pytest.fixture(scope="module")
def portraits() -> list[Pixels]:
    """Different rendered faces in one framing."""
    generator = np.random.default_rng(2024)
    drawn = [draw_portrait_attributes(generator) for _ in range(8)]
    return [np.asarray(render_portrait(one, typical_side=240).pixels, dtype=np.uint8) for one in drawn]


def saved(pixels: Pixels) -> Pixels:
    _, content = cv2.imencode(".jpg", np.ascontiguousarray(pixels), [cv2.IMWRITE_JPEG_QUALITY, 80])
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR), dtype=np.uint8)


def cut(pixels: Pixels, *, top: float, left: float, share: float = 0.95) -> Pixels:
    height, width = pixels.shape[:2]
    y, x = round(top * height), round(left * width)
    return pixels[y : y + round(share * height), x : x + round(share * width)]


def captioned(pixels: Pixels) -> Pixels:
    copy, height = pixels.copy(), len(pixels)
    copy[round(0.9 * height) :] = 20
    cv2.putText(copy, "words", (10, height - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (250, 250, 250), 1)
    return copy


def with_a_line_below(pixels: Pixels) -> Pixels:
    bar = np.full((len(pixels) // 10, pixels.shape[1], 3), 255, dtype=np.uint8)
    return np.vstack([pixels, bar])


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "as it is": lambda pixels: pixels,
    "mirrored": lambda pixels: pixels[:, ::-1],
    "top and left cut": lambda pixels: cut(pixels, top=0.05, left=0.05),
    "bottom cut": lambda pixels: cut(pixels, top=0, left=0.02),
    "all sides cut": lambda pixels: cut(pixels, top=0.05, left=0.05, share=0.9),
    "mirrored and cut": lambda pixels: cut(pixels[:, ::-1], top=0.02, left=0.03),
    "caption over it": captioned,
    "caption below it": with_a_line_below,
}


def thumbnails(pictures: list[Pixels]) -> Thumbnails:
    return np.stack([thumbnail_of(measured_luma(np.ascontiguousarray(one))) for one in pictures])


def groups_of(pictures: list[Pixels]) -> list[int]:
    squares = thumbnails(pictures)
    hashes = [perceptual_hash(one) for one in squares]
    return duplicate_groups(hashes, [one.tobytes() for one in squares], **RULE).tolist()  # type: ignore[arg-type]


@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_is_in_the_group_of_its_original(portraits: list[Pixels], change: str) -> None:
    copies = [saved(CHANGES[change](one)) for one in portraits]
    n = len(portraits)
    assert groups_of(portraits + copies) == [*range(n), *range(n)]
    # The relation does not ask which of the two came first.
    assert groups_of(copies + portraits) == [*range(n), *range(n)]


def test_the_hash_of_the_whole_would_miss_them(portraits: list[Pixels]) -> None:
    """Else there would be no reason for the search over windows."""
    cropped = [saved(cut(one, top=0.05, left=0.05)) for one in portraits]
    hashes = np.frombuffer(
        b"".join(perceptual_hash(one) for one in thumbnails(portraits + cropped)), dtype=np.uint8
    )
    found = near_duplicate_clusters(hashes.reshape(-1, 32), radius=24)
    assert len(set(found.tolist())) > 1.5 * len(portraits)


def joined(squares: Thumbnails, *, least_correlation: float) -> list[tuple[int, ...]]:
    """The pairs of pictures that nobody has grouped before."""
    pairs = joining_pairs(squares, np.arange(len(squares)), least_correlation=least_correlation)
    return sorted(tuple(sorted(pair)) for pair in pairs.tolist())


def test_a_pair_does_not_depend_on_what_else_is_searched(portraits: list[Pixels]) -> None:
    n = len(portraits)
    both = thumbnails([*portraits, *(saved(cut(one, top=0.0, left=0.05)) for one in portraits)])
    alone = [joined(both[[row, row + n]], least_correlation=0.97) for row in range(n)]
    assert alone == [[(0, 1)]] * n
    assert joined(both, least_correlation=0.97) == [(row, row + n) for row in range(n)]


def test_what_is_joined_already_is_not_compared_again(
    portraits: list[Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twelve copies of one picture make 66 pairs, and each can be looked at more than once."""
    copies = [saved(cut(portraits[0], top=0.004 * k, left=0.004 * k)) for k in range(12)]
    counted = []

    def counting(*arguments: Thumbnails, **how: Any) -> float:
        counted.append(how)
        return aligned_correlation(*arguments, **how)

    monkeypatch.setattr("selfai_pipeline.pictures.copies.aligned_correlation", counting)
    pairs = joined(thumbnails(copies), least_correlation=0.97)
    assert len(pairs) == 11
    assert len(counted) < 66
    grouped = joining_pairs(thumbnails(copies), np.zeros(12, dtype=np.int64), least_correlation=0.97)
    assert not len(grouped)


def test_even_pictures_and_noise_are_nobodys_copies() -> None:
    noise = [np.random.default_rng(seed).integers(0, 256, (90, 90, 3), dtype=np.uint8) for seed in range(4)]
    squares = thumbnails([np.full((90, 90, 3), 80, dtype=np.uint8), *noise])
    assert joined(squares, least_correlation=0.9) == []


def test_above_one_the_hashes_alone_count(portraits: list[Pixels]) -> None:
    squares = thumbnails([portraits[0], saved(portraits[0][:, ::-1])])
    assert joined(squares, least_correlation=0.97) == [(0, 1)]
    assert joined(squares, least_correlation=1.1) == []


def test_which_pictures_have_a_copy_elsewhere(portraits: list[Pixels]) -> None:
    """Both ways: a part of theirs, and something that ours is a part of; by hash, too, without thumbnails."""
    ours = thumbnails([portraits[0], cut(portraits[1], top=0, left=0.05), portraits[2], portraits[3]])
    theirs = thumbnails(
        [cut(portraits[0], top=0.05, left=0), portraits[1], saved(portraits[2]), portraits[4]]
    )
    found = have_copies(
        [perceptual_hash(one) for one in ours],
        [ours[0].tobytes(), ours[1].tobytes(), None, ours[3].tobytes()],
        of_hashes=[perceptual_hash(one) for one in theirs],
        of_thumbnails=[theirs[0].tobytes(), theirs[1].tobytes(), None, theirs[3].tobytes()],
        **RULE,  # type: ignore[arg-type]
    )
    assert found.tolist() == [True, True, True, False]


def test_no_pictures() -> None:
    assert duplicate_groups([], [], **RULE).shape == (0,)  # type: ignore[arg-type]
    assert have_copies([], [], of_hashes=[], of_thumbnails=[], **RULE).shape == (0,)  # type: ignore[arg-type]
