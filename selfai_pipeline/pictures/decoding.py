"""Pictures of any kind to upright 8-bit RGB, or a reason why not.

Pillow decodes everything: it reports files that break off, where OpenCV returns their lower part grey, and
it reads CMYK, palettes and animations as they are meant. It only ever tries the formats named here. A JPEG
that breaks off and has an end marker all the same is told by `_lacks_data`.
"""

import io
import struct
import warnings
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from selfai_pipeline.errors import SelfaiError

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP")
BACKDROP = 128
"""The grey (of 255) that transparent pixels are laid over."""

# Compressed data of a JPEG that belong to no picture: all bytes but FF, in a different order in each of nine
# parts, with restart markers in between so that they are read wherever a file with restarts breaks off. The
# 00 at the beginning completes an FF at the end of what is before.
_MORE_JPEG_DATA = b"\0" + b"".join(
    bytes((31 * part + 37 * place) % 255 for place in range(255)) + bytes([0xFF, 0xD0 + part % 8])
    for part in range(9)
)

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
            in_doubt = isinstance(image, JpegImageFile) and _may_lack_data(image)
        if in_doubt and _lacks_data(content, pixels):
            raise PictureError("truncated")
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


def _may_lack_data(image: JpegImageFile) -> bool:
    """Whether a decoded JPEG has to be looked at by `_lacks_data`: libjpeg fills in without a word.

    What a sequential file lacks is grey, so its last pixel tells; a progressive file shows its coarse form.
    """
    last = image.getpixel((image.width - 1, image.height - 1))
    values = last if isinstance(last, tuple) else (last,)
    # Inverted, as CMYK mostly is, 128 becomes 127.
    return bool(image.info.get("progressive")) or all(value in (127, 128) for value in values)


def _lacks_data(content: bytes, pixels: npt.NDArray[np.uint8]) -> bool:
    """Whether the compressed data of a JPEG end before its last block.

    Then more data before the end marker change the pixels; else the decoder passes over them. A progressive
    file that breaks off at the very end of a scan cannot be told from one that was written with fewer scans.
    """
    end = content.rfind(b"\xff\xd9")
    with Image.open(io.BytesIO(content[:end] + _MORE_JPEG_DATA + content[end:]), formats=("JPEG",)) as longer:
        return not np.array_equal(_to_rgb(longer), pixels)


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
