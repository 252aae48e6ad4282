"""The anchors of RetinaFace, which its outputs are offsets to, and what its weights were trained with."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

STRIDES = (8, 16, 32)
ANCHOR_SIDES = ((16, 32), (64, 128), (256, 512))
CENTRE_VARIANCE, SIZE_VARIANCE = 0.1, 0.2

MEAN_BGR = (104.0, 117.0, 123.0)
"""Mean colour that is subtracted; docs/faces.md tells how it was found."""


@lru_cache(maxsize=64)
def anchors(height: int, width: int) -> npt.NDArray[np.float32]:
    """Centre x, centre y and side of every anchor in pixels, float32 [anchors, 3]; row by row, stride by
    stride. It is shared: not to be written to."""
    grids = []
    for stride, sides in zip(STRIDES, ANCHOR_SIDES, strict=True):
        rows, columns = -(-height // stride), -(-width // stride)
        y, x, side = np.meshgrid(
            (np.arange(rows) + 0.5) * stride,
            (np.arange(columns) + 0.5) * stride,
            np.array(sides, dtype=np.float64),
            indexing="ij",
        )
        grids.append(np.stack([x, y, side], axis=-1).reshape(-1, 3))
    found = np.concatenate(grids).astype(np.float32)
    found.setflags(write=False)
    return found
