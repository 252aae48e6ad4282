"""Pictures of any kind to upright 8-bit RGB, or a reason why not.

A JPEG that libjpeg decodes without a warning goes through simplejpeg: it can decode at a half, a quarter or
an eighth, which costs no memory for the pixels that are left out, and its warnings tell of files that break
off. Everything else goes through Pillow, whose pixels are the same: it reports files that break off, where
OpenCV returns their lower part grey, and it reads CMYK, palettes and animations as they are meant. It only
ever tries the formats named here. A JPEG that breaks off and has an end marker all the same is told by
`truncation`.
"""

import io
import struct
import warnings
import zlib
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from selfai_pipeline.errors import SelfaiError
from selfai_pipeline.pictures.limits import (
    has_several_scans,
    has_too_many_scans,
    is_affordable,
    jpeg_divisor,
    jpeg_kept,
    least_divisor,
)
from selfai_pipeline.pictures.rgb import Pixels, assembled
from selfai_pipeline.pictures.truncation import digest, lacks_data, may_lack_data

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP")
_JPEG_START = b"\xff\xd8\xff"

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

    Codes: empty_file, not_a_picture, too_many_pixels, too_many_scans, truncated, undecodable.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"this picture cannot be decoded: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class Shrunk:
    """A picture decoded at a part of its size.

    Attributes:
        pixels: uint8 [height / n, width / n, 3] RGB, upright; n is `divisor`, sides are rounded up.
        height: of the whole picture, upright, in pixels.
        width: of the whole picture, upright, in pixels.
        divisor: 1, 2, 4 or 8; so many pixels of the whole, each way, make one of `pixels`.
        left, top: where `pixels` begin in the whole, in its pixels: 0, or less by what is missing to a whole
            pixel where orientation put the incomplete ones first.
    """

    pixels: Pixels
    height: int
    width: int
    divisor: int = 1
    left: int = 0
    top: int = 0


def decode_rgb(content: bytes, *, orientation: int = 1, max_pixels: int) -> Pixels:
    """Decode a picture.

    Grey becomes three equal channels; transparency is laid over mid grey (`BACKDROP`); 16 bits are scaled
    to 8; CMYK is converted without its colour profile; of an animation the first frame counts. An
    orientation inside the bytes is not looked at: crawled pictures are stored without metadata, and the
    column is the truth.

    Args:
        content: a JPEG, PNG, GIF, WebP or BMP file.
        orientation: EXIF orientation, 1..8, that is undone.
        max_pixels: width times height above which nothing is decoded. Nothing is decoded either where that
            would take more than `MOST_BYTES` of memory.

    Returns:
        uint8 [height, width, 3], RGB, upright.

    Raises:
        PictureError: with the reason, see there.
    """
    return _upright(_decode(content, max_pixels=max_pixels, side=None), orientation).pixels


def decode_shrunk(content: bytes, *, orientation: int = 1, max_pixels: int, side: int) -> Shrunk:
    """Decode a picture at the smallest of 1, 1/2, 1/4 and 1/8 of its size that leaves `side` pixels or more.

    Each pixel is the mean of those it stands for: a JPEG is decoded from as many frequencies of its blocks,
    anything else is averaged over areas. A JPEG that would take more than `MOST_BYTES` of memory at that
    size is decoded at a smaller one.

    Args:
        content, orientation, max_pixels: as for `decode_rgb`.
        side: pixels that the longer side shall still have, where the picture and memory have them.

    Raises:
        PictureError: as `decode_rgb`. That a JPEG breaks off in its last block shows only at a size that has
            as many of its details: where it is too large to be decoded whole, a smaller one may be had.
    """
    return _upright(_decode(content, max_pixels=max_pixels, side=side), orientation)


def _decode(content: bytes, *, max_pixels: int, side: int | None) -> Shrunk:
    if not content:
        raise PictureError("empty_file")
    if content.startswith(_JPEG_START):
        if has_too_many_scans(content):
            raise PictureError("too_many_scans")
        shrunk = _whole_jpeg(content, max_pixels=max_pixels, side=side)
        if shrunk is not None:
            return shrunk
    try:
        with closing(Image.open(io.BytesIO(content), formats=FORMATS)) as image:
            height, width = image.height, image.width
            if height * width > max_pixels:
                raise PictureError("too_many_pixels")
            divisor = _drafted(image, content, side=side)
            image.load()
            in_doubt = isinstance(image, JpegImageFile) and may_lack_data(image, whole=(width, height))
            known = digest(image) if in_doubt else b""
            size = image.size
            pixels = assembled(image, divisor=divisor)
            divisor *= max(1, round(width / size[0]))
        # By now the memory of the first decoding is free for a second.
        if in_doubt and lacks_data(content, known, size):
            raise PictureError("truncated")
        return Shrunk(pixels, height, width, divisor)
    except Image.DecompressionBombError:
        raise PictureError("too_many_pixels") from None
    except UnidentifiedImageError:
        raise PictureError("not_a_picture") from None
    except _DECODER_ERRORS as error:
        truncated = isinstance(error, EOFError) or "truncated" in str(error)
        raise PictureError("truncated" if truncated else "undecodable") from error


def _whole_jpeg(content: bytes, *, max_pixels: int, side: int | None) -> Shrunk | None:
    """A JPEG of grey or YCbCr that libjpeg has nothing to say about; None for all others.

    What it warns of may be a file that breaks off, or no more than a stray byte: that is told elsewhere.
    """
    try:
        height, width, colours, sampling = simplejpeg.decode_jpeg_header(content)
    except ValueError:
        return None
    if colours not in ("YCbCr", "Gray"):
        return None
    if height * width > max_pixels:
        raise PictureError("too_many_pixels")
    divisor = jpeg_divisor(height, width, side=side, made=3, kept=jpeg_kept(content, sampling))
    if divisor is None:
        raise PictureError("too_many_pixels")
    try:
        pixels = simplejpeg.decode_jpeg(
            content, "RGB", min_height=-(-height // divisor), min_width=-(-width // divisor)
        )
    except ValueError:
        return None
    return Shrunk(np.asarray(pixels, dtype=np.uint8), height, width, divisor)


def _drafted(image: Image.Image, content: bytes, *, side: int | None) -> int:
    """Prepare an image for decoding with Pillow: a JPEG that is too large otherwise at a part of its size.

    Where it fits it is decoded whole, as the details tell of a progressive file that breaks off. What
    decoding takes was measured: Pillow's image, what its decoder holds beside it, and the pixels that come
    out.

    Returns:
        By how much the loaded image is then to be shrunk.

    Raises:
        PictureError: too_many_pixels; it would take more than `MOST_BYTES`.
    """
    height, width = image.height, image.width
    made = 3 + (1 if image.mode in ("1", "L", "P") else 4)
    held = 12 if image.format == "WEBP" else 0
    if isinstance(image, JpegImageFile) and has_several_scans(content):
        held = 2 * (made - 3)
    if is_affordable(height * width, made + held):
        return least_divisor(height, width, side=side)
    # Pillow keeps a side of fewer pixels than the divisor whole, and with it the other.
    if side is None or not isinstance(image, JpegImageFile) or min(height, width) < 8:
        raise PictureError("too_many_pixels")
    least = jpeg_divisor(height, width, side=side, made=made, kept=held)
    if least is None:
        raise PictureError("too_many_pixels")
    image.draft(None, (width // least, height // least))
    return 1


def _upright(shrunk: Shrunk, orientation: int) -> Shrunk:
    """Undo an EXIF orientation (EXIF 2.32, tag 274)."""
    if not 1 <= orientation <= 8:
        raise ValueError(f"an EXIF orientation is 1 to 8, not {orientation}")
    pixels, height, width = shrunk.pixels, shrunk.height, shrunk.width
    if orientation >= 5:
        pixels, height, width = pixels.swapaxes(0, 1), width, height
    divisor = shrunk.divisor
    left = width - divisor * pixels.shape[1] if orientation in (2, 3, 6, 7) else 0
    top = height - divisor * pixels.shape[0] if orientation in (3, 4, 7, 8) else 0
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
    upright = np.ascontiguousarray(pixels[flips[orientation]])
    return Shrunk(upright, height, width, divisor, left, top)
