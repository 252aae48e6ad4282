"""Copies of a picture hash alike; different pictures do not."""

import cv2
import numpy as np

from selfai_pipeline.pictures.measures import Pixels, measured_luma, thumbnail_of
from selfai_pipeline.pictures.perceptual_hash import dct_rows, perceptual_hash


def scene(seed: int, *, side: int = 240) -> Pixels:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
    fine = np.asarray(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC))
    return np.clip(fine + rng.normal(0, 6, fine.shape), 0, 255).astype(np.uint8)


def distance(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


def hashed(pixels: Pixels) -> bytes:
    return perceptual_hash(thumbnail_of(measured_luma(pixels)))


def test_copies_are_near_and_others_far() -> None:
    near = 24
    for seed in range(5):
        picture = scene(seed)
        original = hashed(picture)
        assert len(original) == 32
        _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 50])
        copies = [
            np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), dtype=np.uint8),
            np.asarray(cv2.resize(picture, (120, 120), interpolation=cv2.INTER_AREA), dtype=np.uint8),
            np.clip(picture * 0.85 + 12, 0, 255).astype(np.uint8),
        ]
        assert max(distance(original, hashed(copy)) for copy in copies) <= near
        assert distance(original, hashed(scene(seed + 100))) > 2 * near


def test_the_transform_is_the_dct_of_opencv() -> None:
    values = np.random.default_rng(0).random((64, 64))
    rows = dct_rows(64, 16)
    assert np.allclose(rows @ values @ rows.T, np.asarray(cv2.dct(values))[:16, :16])


def test_a_picture_that_is_even_throughout_has_one_hash() -> None:
    grey = {perceptual_hash(np.full((64, 64), level, dtype=np.uint8)) for level in (1, 77, 203)}
    assert len(grey) == 1
