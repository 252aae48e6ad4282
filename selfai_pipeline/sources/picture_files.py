"""Picture files as bytes: what their headers say, and the same file without metadata.

Nothing is decoded here, so that a decompression bomb costs no more than its bytes. Metadata is dropped by
leaving out whole segments and chunks, so that the pixels stay the same to the bit.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from selfai_pipeline.sources.container_formats import (
    ParsedPicture,
    PictureFileError,
    parse_bmp,
    parse_gif,
    parse_jpeg,
    parse_png,
    parse_webp,
)

__all__ = [
    "PictureFacts",
    "PictureFileError",
    "clean_picture",
    "inspect_picture",
    "is_picture",
    "strip_metadata",
]


@dataclass(frozen=True)
class PictureFacts:
    """What the headers say of a picture.

    Args:
        format: jpeg, png, gif, webp or bmp.
        width: pixels, before the orientation is applied.
        height: pixels, before the orientation is applied.
        orientation: EXIF orientation 1..8; 1 where none is given.
    """

    format: str
    width: int
    height: int
    orientation: int


Parser = Callable[[bytes], ParsedPicture]


def is_picture(content: bytes) -> bool:
    """Whether the first bytes are those of a picture in one of the formats that are taken."""
    try:
        _recognise(content)
    except PictureFileError:
        return False
    return True


def inspect_picture(content: bytes, *, max_pixels: int | None = None) -> PictureFacts:
    """Read format, size and orientation from the headers.

    Raises:
        PictureFileError: with the reason empty_file, not_a_picture, unsupported_format, malformed, truncated
            or too_many_pixels.
    """
    return clean_picture(content, max_pixels=max_pixels)[0]


def strip_metadata(content: bytes) -> bytes:
    """The same picture without EXIF, GPS, XMP, IPTC, comments, thumbnails and whatever follows its end.

    Colour profiles stay, since they say how the pixels are meant. Stripping twice changes nothing more.

    Raises:
        PictureFileError: as `inspect_picture`.
    """
    return clean_picture(content)[1]


def clean_picture(content: bytes, *, max_pixels: int | None = None) -> tuple[PictureFacts, bytes]:
    """`inspect_picture` and `strip_metadata` in one pass over the file.

    Raises:
        PictureFileError: as `inspect_picture`.
    """
    name, parse = _recognise(content)
    try:
        parsed = parse(content)
    except (struct.error, IndexError):
        raise PictureFileError("truncated") from None
    if parsed.width < 1 or parsed.height < 1:
        raise PictureFileError("malformed")
    if max_pixels is not None and max(parsed.width * parsed.height, parsed.largest_frame) > max_pixels:
        raise PictureFileError("too_many_pixels")
    facts = PictureFacts(name, parsed.width, parsed.height, parsed.orientation)
    return facts, b"".join(parsed.kept)


def _recognise(content: bytes) -> tuple[str, Parser]:
    """The format by its first bytes; neither the name of a file nor a content type is asked."""
    if not content:
        raise PictureFileError("empty_file")
    if content.startswith(b"\xff\xd8\xff"):
        return "jpeg", parse_jpeg
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png", parse_png
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "gif", parse_gif
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "webp", parse_webp
    if content.startswith(b"BM") and content[14:18] in BMP_HEADER_SIZES:
        return "bmp", parse_bmp
    if _is_another_picture(content):
        raise PictureFileError("unsupported_format")
    raise PictureFileError("not_a_picture")


BMP_HEADER_SIZES = [struct.pack("<I", size) for size in (12, 40, 52, 56, 108, 124)]
OTHER_SIGNATURES = (
    b"II*\0",  # TIFF
    b"MM\0*",
    b"8BPS",  # Photoshop
    b"\0\0\1\0",  # Windows icon
    b"\0\0\0\x0cJXL \r\n",  # JPEG XL
    b"\xff\x0a",
    b"\0\0\0\x0cjP  \r\n",  # JPEG 2000
)
OTHER_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"hevc", b"mif1", b"msf1")


def _is_another_picture(content: bytes) -> bool:
    if content.startswith(OTHER_SIGNATURES):
        return True
    if content[4:8] == b"ftyp" and content[8:12] in OTHER_BRANDS:
        return True
    start = content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith(b"<svg") or (start.startswith(b"<?xml") and b"<svg" in start)
