"""Hashes that survive re-encoding and resizing: few bits differ between two copies of one picture."""

import cv2
import numpy as np

from selfai_pipeline.pictures.measures import Pixels


def perceptual_hash(pixels: Pixels, *, frequencies: int = 8) -> bytes:
    """The DCT hash (pHash) of a picture.

    The luma at (4 f) by (4 f) pixels is transformed (DCT-II); each of its f * f lowest frequencies gives
    one bit: whether it lies above their median. (Zauner, "Implementation and benchmarking of perceptual
    image hash functions", 2010, has f = 8.) Two bits at least differ, or none: half of the bits are always
    set.

    Args:
        pixels: uint8 [height, width, 3] RGB.
        frequencies: f, a multiple of 4. The 64 bits of f = 8 confuse different people in portraits of one
            framing; the 256 bits of f = 16 tell them apart and still hold copies together.

    Returns:
        f * f / 8 bytes.
    """
    side = 4 * frequencies
    small = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
    luma = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float64)
    low = np.asarray(cv2.dct(luma))[:frequencies, :frequencies]
    return np.packbits(low.ravel() > np.median(low)).tobytes()
