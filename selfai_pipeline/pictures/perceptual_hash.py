"""Hashes that survive re-encoding and resizing: few bits differ between two copies of one picture."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from selfai_pipeline.pictures.measures import Luma

FREQUENCIES = 16
HASH_BYTES = FREQUENCIES**2 // 8


@lru_cache
def dct_rows(samples: int, frequencies: int) -> npt.NDArray[np.float64]:
    """The first rows of the orthonormal DCT-II of `samples` values: float64 [frequencies, samples]."""
    place = 2 * np.arange(samples) + 1
    rows = np.sqrt(2 / samples) * np.cos(np.pi * np.arange(frequencies)[:, None] * place / (2 * samples))
    rows[0] /= np.sqrt(2)
    return np.asarray(rows)


def perceptual_hash(thumbnail: Luma) -> bytes:
    """The DCT hash (pHash) of a picture, with 256 bits.

    The luma at (4 f) by (4 f) pixels is transformed (DCT-II); each of its f * f lowest frequencies gives
    one bit: whether it lies above their median. (Zauner, "Implementation and benchmarking of perceptual
    image hash functions", 2010, has f = 8, whose 64 bits confuse different people in portraits of one
    framing; f = 16 tells them apart and still holds copies together.) Two bits at least differ, or none:
    half of the bits are always set.

    Args:
        thumbnail: uint8 [64, 64], see `thumbnail_of`.

    Returns:
        32 bytes.
    """
    rows = dct_rows(len(thumbnail), FREQUENCIES)
    # Rounded, so that a picture that is even throughout has no bits made of rounding errors.
    low = np.round(rows @ thumbnail.astype(np.float64) @ rows.T, 6).ravel()
    middle = np.partition(low, (len(low) // 2 - 1, len(low) // 2))[len(low) // 2 - 1 :][:2]
    return np.packbits(low > middle.mean()).tobytes()
