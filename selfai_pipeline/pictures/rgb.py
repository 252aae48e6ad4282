"""A loaded image of any mode as 8-bit RGB, some rows at a time: never both whole."""

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

BACKDROP = 128
"""The grey (of 255) that transparent pixels are laid over."""

_STRIP = 64
"""Rows that are converted at a time: a multiple of every divisor."""


def assembled(image: Image.Image, *, divisor: int) -> Pixels:
    """A loaded image as RGB, uint8 [height / divisor, width / divisor, 3], averaged over squares of `divisor`
    pixels; sides are rounded up."""
    height, width = -(-image.height // divisor), -(-image.width // divisor)
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    for top, strip in strips(image):
        rows = -(-strip.shape[0] // divisor)
        if divisor > 1:
            strip = _averaged(strip, (rows, width), divisor=divisor)
        pixels[top // divisor : top // divisor + rows] = strip
    return pixels


def _averaged(strip: Pixels, size: tuple[int, int], *, divisor: int) -> Pixels:
    """The means of squares of `divisor` pixels, [rows, columns]; the last ones are filled up with their edge,
    as a JPEG's blocks are."""
    missing = [divisor * wanted - there for wanted, there in zip(size, strip.shape[:2], strict=True)]
    filled = cv2.copyMakeBorder(strip, 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(filled, size[::-1], interpolation=cv2.INTER_AREA), dtype=np.uint8)


def strips(image: Image.Image) -> Iterator[tuple[int, Pixels]]:
    """An image as RGB, `_STRIP` rows at a time, each with the number of its first row."""
    for top in range(0, image.height, _STRIP):
        part = image.crop((0, top, image.width, min(top + _STRIP, image.height)))
        yield top, _to_rgb(part, transparent="transparency" in image.info)


def _to_rgb(image: Image.Image, *, transparent: bool) -> Pixels:
    if image.mode.startswith("I"):
        deep = np.asarray(image).astype(np.float64)
        grey = np.rint(np.clip(deep, 0, 65535) / 257).astype(np.uint8)
        return np.repeat(grey[:, :, np.newaxis], 3, axis=2)
    if image.mode in ("LA", "PA", "RGBA", "RGBa", "La") or transparent:
        layer = image.convert("RGBA")
        backdrop = Image.new("RGBA", layer.size, (BACKDROP, BACKDROP, BACKDROP, 255))
        return np.asarray(Image.alpha_composite(backdrop, layer).convert("RGB"))
    return np.asarray(image.convert("RGB"))
