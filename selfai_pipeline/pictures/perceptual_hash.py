"""Hashes that survive re-encoding and resizing: few bits differ between two copies of one picture."""

import cv2
import numpy as np

from selfai_pipeline.pictures.measures import Pixels

FREQUENCIES = 16
HASH_BYTES = FREQUENCIES**2 // 8


def perceptual_hash(pixels: Pixels) -> bytes:
    """The DCT hash (pHash) of a picture, with 256 bits.

    The luma at (4 f) by (4 f) pixels is transformed (DCT-II); each of its f * f lowest frequencies gives
    one bit: whether it lies above their median. (Zauner, "Implementation and benchmarking of perceptual
    image hash functions", 2010, has f = 8, whose 64 bits confuse different people in portraits of one
    framing; f = 16 tells them apart and still holds copies together.) Two bits at least differ, or none:
    half of the bits are always set.

    Args:
        pixels: uint8 [height, width, 3] RGB.

    Returns:
        32 bytes.
    """
    side = 4 * FREQUENCIES
    small = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
    luma = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float64)
    low = np.asarray(cv2.dct(luma))[:FREQUENCIES, :FREQUENCIES]
    return np.packbits(low.ravel() > np.median(low)).tobytes()
