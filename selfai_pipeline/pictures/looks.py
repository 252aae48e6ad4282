"""How a picture looks, whichever way it is turned: what tells a removed picture that was encoded again."""

import numpy as np
import numpy.typing as npt

from selfai_pipeline.pictures.decoding import PictureError, decode_shrunk
from selfai_pipeline.pictures.measures import MEASURED_SIDE, THUMBNAIL_SIDE, measured_luma, thumbnail_of
from selfai_pipeline.pictures.perceptual_hash import HASH_BYTES, perceptual_hash
from selfai_pipeline.pictures.settings import PruneSettings

RADIUS = int(PruneSettings.model_fields["duplicate_radius"].default)
"""Bits, of 256, up to which pruning calls two pictures near-duplicates by their hashes alone."""

Hashes = npt.NDArray[np.uint8]


def thumbnail_in(content: bytes, *, orientation: int) -> bytes | None:
    """The thumbnail of an encoded picture, upright; None where it cannot be decoded."""
    limit = int(PruneSettings.model_fields["max_pixels"].default)
    try:
        shrunk = decode_shrunk(content, orientation=orientation, max_pixels=limit, side=MEASURED_SIDE)
    except PictureError:
        return None
    return thumbnail_of(measured_luma(shrunk.pixels)).tobytes()


def turned_hashes(thumbnail: bytes) -> Hashes:
    """The perceptual hashes of a thumbnail in its eight positions (turned, mirrored): uint8 [8, 32].

    The first is that of the picture as it is. A copy may have lost its orientation, or been mirrored.
    """
    square = np.frombuffer(thumbnail, np.uint8).reshape(THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    positions = [np.rot90(side, turns) for side in (square, square[:, ::-1]) for turns in range(4)]
    hashes = [perceptual_hash(np.ascontiguousarray(position)) for position in positions]
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(len(positions), HASH_BYTES)


def alike(hashes: Hashes, others: Hashes) -> npt.NDArray[np.bool_]:
    """Which of `others` [m, 32] lie within `RADIUS` of any of `hashes` [n, 32]: bool [m]."""
    found = np.zeros(len(others), dtype=bool)
    for one in hashes:
        found |= np.bitwise_count(others ^ one).sum(axis=1) <= RADIUS
    return found
