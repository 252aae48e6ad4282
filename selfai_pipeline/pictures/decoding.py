"""Pictures of any kind to upright 8-bit RGB, or a reason why not.

Pillow decodes everything: it reports truncated files, where OpenCV returns their lower part grey, and it
reads CMYK, palettes and animations as they are meant. It only ever tries the formats named here.
"""

import io
import struct
import warnings
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from selfai_pipeline.errors import SelfaiError

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP")
BACKDROP = 128
"""The grey (of 255) that transparent pixels are laid over."""

# The limit of `decode_rgb` is checked for every picture; Pillow's own, on top of it, would only print.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

_DECODER_ERRORS = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    OverflowError,
    struct.error,
    zlib.error,
)


class PictureError(SelfaiError):
    """A picture cannot be used; `reason` is the code that goes into tables.

    Codes: empty_file, not_a_picture, too_many_pixels, truncated, undecodable.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"this picture cannot be decoded: {reason}")
        self.reason = reason


def decode_rgb(content: bytes, *, orientation: int = 1, max_pixels: int) -> npt.NDArray[np.uint8]:
    """Decode a picture.

    Grey becomes three equal channels; transparency is laid over mid grey (`BACKDROP`); 16 bits are scaled
    to 8; CMYK is converted without its colour profile; of an animation the first frame counts. An
    orientation inside the bytes is not looked at: crawled pictures are stored without metadata, and the
        column is the truth.

    Args:
        content: a JPEG, PNG, GIF, WebP or BMP file.
        orientation: EXIF orientation, 1..8, that is undone.
        max_pixels: width times height above which nothing is decoded.

    Returns:
        uint8 [height, width, 3], RGB, upright.

    Raises:
        PictureError: with the reason, see there.
    """
    if not content:
        raise PictureError("empty_file")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise PictureError("too_many_pixels")
            pixels = _to_rgb(image)
    except Image.DecompressionBombError:
        raise PictureError("too_many_pixels") from None
    except UnidentifiedImageError:
        raise PictureError("not_a_picture") from None
    except _DECODER_ERRORS as error:
        truncated = isinstance(error, EOFError) or "truncated" in str(error)
        raise PictureError("truncated" if truncated else "undecodable") from error
    return _upright(pixels, orientation)


def _to_rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    if image.mode.startswith("I"):
        deep = np.asarray(image).astype(np.float64)
        grey = np.rint(np.clip(deep, 0, 65535) / 257).astype(np.uint8)
        return np.repeat(grey[:, :, np.newaxis], 3, axis=2)
    if image.mode in ("LA", "PA", "RGBA", "RGBa", "La") or "transparency" in image.info:
        layer = image.convert("RGBA")
        backdrop = Image.new("RGBA", layer.size, (BACKDROP, BACKDROP, BACKDROP, 255))
        return np.asarray(Image.alpha_composite(backdrop, layer).convert("RGB"))
    return np.asarray(image.convert("RGB"))


def _upright(pixels: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """Undo an EXIF orientation (EXIF 2.32, tag 274)."""
    if not 1 <= orientation <= 8:
        raise ValueError(f"an EXIF orientation is 1 to 8, not {orientation}")
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    flips: dict[int, Any] = {
        1: np.s_[:, :],
        2: np.s_[:, ::-1],
        3: np.s_[::-1, ::-1],
        4: np.s_[::-1, :],
        5: np.s_[:, :],
        6: np.s_[:, ::-1],
        7: np.s_[::-1, ::-1],
        8: np.s_[::-1, :],
    }
    return np.ascontiguousarray(pixels[flips[orientation]])
