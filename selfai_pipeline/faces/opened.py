"""A kept picture, opened at the size that is needed of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from selfai_pipeline.faces.alignment import Points, crop
from selfai_pipeline.faces.detector import Detection, Pixels
from selfai_pipeline.faces.settings import FaceSettings
from selfai_pipeline.pictures.decoding import PictureError, Shrunk, decode_shrunk
from selfai_pipeline.store import Store


@dataclass(frozen=True)
class Opened:
    """A kept row of the pruned set and its upright picture, or the reason why it has none.

    Coordinates are of the whole picture everywhere but in `shrunk`.

    Attributes:
        row: of the pruned set.
        content: its bytes.
        max_pixels: of the whole, above which it is not decoded.
        shrunk: the picture at a part of its size; None where it cannot be decoded.
        reason: why it cannot be decoded.
    """

    row: Mapping[str, Any]
    content: bytes
    max_pixels: int
    shrunk: Shrunk | None = None
    reason: str | None = None

    @property
    def pixels(self) -> Pixels | None:
        """The picture at a part of its size, uint8 [h, w, 3] RGB."""
        return self.shrunk.pixels if self.shrunk else None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the whole, upright; (0, 0) where it cannot be decoded."""
        return (self.shrunk.height, self.shrunk.width) if self.shrunk else (0, 0)

    def with_side(self, side: int) -> "Opened":
        """The same picture with at least so many pixels along its longer side, where it has them.

        It has none, and a reason, where it breaks off so late that only this size shows it.
        """
        if self.shrunk is None or max(self.shrunk.pixels.shape) >= min(side, max(self.size)):
            return self
        return self.decoded(side=side)

    def decoded(self, *, side: int) -> "Opened":
        """The picture with at least so many pixels along its longer side, where it has them, or with the
        reason why it cannot be decoded."""
        orientation = self.row["orientation"]
        try:
            shrunk = decode_shrunk(
                self.content, orientation=orientation, max_pixels=self.max_pixels, side=side
            )
        except PictureError as error:
            return replace(self, shrunk=None, reason=error.reason)
        return replace(self, shrunk=shrunk)

    def with_density(self, density: float) -> "Opened":
        """As `with_side`, with so many pixels for each pixel of the whole along a side; 1: all of them."""
        return self.with_side(self._side_at(density))

    def pixels_at(self, density: float) -> int:
        """How many pixels `with_density` has."""
        if self.shrunk is None:
            return 0
        height, width = self.size
        side = self._side_at(density)
        if max(self.shrunk.pixels.shape) >= side:
            return self.shrunk.pixels.size // 3
        divisor = next((n for n in (8, 4, 2) if max(self.size) >= n * side), 1)
        return height * width // divisor**2

    def _side_at(self, density: float) -> int:
        return math.ceil(min(1.0, density) * max(self.size))

    def in_whole(self, face: Detection) -> Detection:
        """A face in `pixels`, in coordinates of the whole."""
        assert self.shrunk is not None
        divisor, start = self.shrunk.divisor, np.array([self.shrunk.left, self.shrunk.top])
        return replace(
            face, box=face.box * divisor + np.tile(start, 2), landmarks=face.landmarks * divisor + start
        )

    def crop(self, matrix: Points, *, crop_size: int) -> Pixels:
        """The crop that `matrix` [2, 3] cuts out of the whole, uint8 [crop_size, crop_size, 3]; see
        `alignment.crop`."""
        assert self.shrunk is not None
        start = np.array([self.shrunk.left, self.shrunk.top])
        of_pixels = np.column_stack(
            [matrix[:, :2] * self.shrunk.divisor, matrix[:, 2] + matrix[:, :2] @ start]
        )
        return crop(self.shrunk.pixels, of_pixels, crop_size=crop_size)


def open_picture(row: Mapping[str, Any], *, store: Store, settings: FaceSettings) -> Opened:
    """The picture of a kept row, with enough pixels for the first look.

    Raises:
        MissingVersion, AlteredVersion: it is gone, or its bytes are not what its name says.
    """
    opened = Opened(row, store.pictures.get(row["image_id"]), settings.max_pixels)
    return opened.decoded(side=settings.detection_side)
