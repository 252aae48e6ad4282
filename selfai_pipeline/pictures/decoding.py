"""Pictures of any kind to upright 8-bit RGB, or a reason why not.

A JPEG that libjpeg decodes without a warning goes through simplejpeg: it can decode at a half, a quarter or
an eighth, which costs no memory for the pixels that are left out, and its warnings tell of files that break
off. Everything else goes through Pillow, whose pixels are the same: it reports files that break off, where
OpenCV returns their lower part grey, and it reads CMYK, palettes and animations as they are meant. It only
ever tries the formats named here. A JPEG that breaks off and has an end marker all the same is told by
`_lacks_data`.
"""

import hashlib
import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from selfai_pipeline.errors import SelfaiError

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP")
BACKDROP = 128
"""The grey (of 255) that transparent pixels are laid over."""

MOST_BYTES = 90_000_000
"""Memory that decoding one picture may take by what its format costs a pixel; what would need more has too
many pixels."""

MOST_SCANS = 100
"""Of a JPEG: each costs a pass over the whole picture for a few bytes of file. Encoders write about ten."""

_JPEG_START, _SCAN_START = b"\xff\xd8\xff", b"\xff\xda"
_WITHOUT_SEGMENT = (0x00, 0x01, *range(0xD0, 0xD8))
"""Of a JPEG's markers: no marker, TEM, and those that restart."""

_SAMPLES = {"Gray": 1.0, "420": 1.5, "411": 1.5, "422": 2.0, "440": 2.0}
"""Samples a pixel of JPEG's ways to store colour; 3 for all others."""

_STRIP = 64
"""Rows that are converted at a time: a multiple of every divisor."""

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

    Codes: empty_file, not_a_picture, too_many_pixels, too_many_scans, truncated, undecodable.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"this picture cannot be decoded: {reason}")
        self.reason = reason


Pixels = npt.NDArray[np.uint8]


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
        if _has_several_scans(content) and content.count(_SCAN_START) > MOST_SCANS:
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
            in_doubt = isinstance(image, JpegImageFile) and _may_lack_data(image, whole=(width, height))
            digest = _digest(image) if in_doubt else b""
            size = image.size
            pixels = _assembled(image, divisor=divisor)
            divisor *= max(1, round(width / size[0]))
        # By now the memory of the first decoding is free for a second.
        if in_doubt and _lacks_data(content, digest, size):
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
    # A file of several scans is held as coefficients of 2 bytes until the last.
    kept = 2 * _SAMPLES.get(sampling, 3.0) if _has_several_scans(content) else 0.0
    if height * width > max_pixels:
        raise PictureError("too_many_pixels")
    divisor = _jpeg_divisor(height, width, side=side, made=3, kept=kept)
    try:
        pixels = simplejpeg.decode_jpeg(
            content, "RGB", min_height=-(-height // divisor), min_width=-(-width // divisor)
        )
    except ValueError:
        return None
    return Shrunk(np.asarray(pixels, dtype=np.uint8), height, width, divisor)


def _has_several_scans(content: bytes) -> bool:
    """Whether libjpeg reads more than one scan of a JPEG: it is progressive, or its first scan lacks a
    component. What is no JPEG has one.

    The markers before the first scan are followed one by one, as their segments may hold any bytes. What
    libjpeg passes over between two segments is passed over here: stray bytes, and markers without a segment.
    """
    place, components, progressive = 2, 0, False
    while 0 <= (place := content.find(b"\xff", place)) < len(content) - 9:
        kind, length = content[place + 1], int.from_bytes(content[place + 2 : place + 4], "big")
        if kind == 0xDA:
            return progressive or content[place + 4] < components
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            components, progressive = content[place + 9], kind in (0xC2, 0xC6, 0xCA, 0xCE)
        if kind == 0xFF:
            place += 1
        else:
            place += 2 if kind in _WITHOUT_SEGMENT else 2 + length
    return False


def _divisor(height: int, width: int, *, side: int | None) -> int:
    """By how much a picture is shrunk while it is decoded: a power of two that leaves `side` pixels."""
    longest = max(height, width)
    return 1 if side is None else max(n for n in (1, 2, 4, 8) if n == 1 or longest >= n * side)


def _jpeg_divisor(height: int, width: int, *, side: int | None, made: float, kept: float) -> int:
    """By how much a JPEG is shrunk while it is decoded: as `_divisor`, or more where memory asks for it.

    Args:
        made: bytes that are made of each pixel of the shrunk picture.
        kept: bytes that each pixel of the file takes beside them, whatever the size that comes out.

    Raises:
        PictureError: too_many_pixels; at no size does it take less than `MOST_BYTES`.
    """
    least = _divisor(height, width, side=side)
    for divisor in (1,) if side is None else (1, 2, 4, 8):
        if divisor >= least and height * width * (made / divisor**2 + kept) <= MOST_BYTES:
            return divisor
    raise PictureError("too_many_pixels")


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
    if isinstance(image, JpegImageFile) and _has_several_scans(content):
        held = 2 * (made - 3)
    if height * width * (made + held) <= MOST_BYTES:
        return _divisor(height, width, side=side)
    # Pillow keeps a side of fewer pixels than the divisor whole, and with it the other.
    if side is None or not isinstance(image, JpegImageFile) or min(height, width) < 8:
        raise PictureError("too_many_pixels")
    divisor = _jpeg_divisor(height, width, side=side, made=made, kept=held)
    image.draft(None, (width // divisor, height // divisor))
    return 1


def _assembled(image: Image.Image, *, divisor: int) -> Pixels:
    """A loaded image as RGB, averaged over squares of `divisor` pixels: never both whole at a time."""
    height, width = -(-image.height // divisor), -(-image.width // divisor)
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    for top, strip in _strips(image, step=_STRIP):
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


def _strips(image: Image.Image, *, step: int) -> Iterator[tuple[int, Pixels]]:
    """An image as RGB, `step` rows at a time, each with the number of its first row."""
    for top in range(0, image.height, step):
        part = image.crop((0, top, image.width, min(top + step, image.height)))
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


def _may_lack_data(image: JpegImageFile, *, whole: tuple[int, int]) -> bool:
    """Whether a decoded JPEG has to be looked at by `_lacks_data`: libjpeg fills in without a word.

    What a sequential file lacks is grey, so its last pixel tells, if it is decoded at its `whole` size: at a
    part of it a pixel is the mean of several. A progressive file shows its coarse form.
    """
    if image.size != whole:
        return True
    last = image.getpixel((image.width - 1, image.height - 1))
    values = last if isinstance(last, tuple) else (last,)
    # Inverted, as CMYK mostly is, 128 becomes 127.
    return bool(image.info.get("progressive")) or all(value in (127, 128) for value in values)


def _lacks_data(content: bytes, digest: bytes, size: tuple[int, int]) -> bool:
    """Whether the compressed data of a JPEG, whose pixels have this digest when it is decoded at this size,
    end before its last block.

    Then more data before the end marker change the pixels; else the decoder passes over them. A progressive
    file that breaks off at the very end of a scan cannot be told from one that was written with fewer scans.
    """
    end = content.rfind(b"\xff\xd9")
    with Image.open(io.BytesIO(content[:end] + _MORE_JPEG_DATA + content[end:]), formats=("JPEG",)) as longer:
        if longer.size != size:
            longer.draft(None, (max(1, size[0] - 1), max(1, size[1] - 1)))
        return _digest(longer) != digest


def _digest(image: Image.Image) -> bytes:
    digest = hashlib.sha256()
    for _, strip in _strips(image, step=_STRIP):
        digest.update(strip.tobytes())
    return digest.digest()


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
