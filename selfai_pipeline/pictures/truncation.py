"""Whether a JPEG that libjpeg decodes without a word breaks off before its end marker."""

import hashlib
import io

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from selfai_pipeline.pictures.rgb import strips

# Compressed data of a JPEG that belong to no picture: all bytes but FF, in a different order in each of nine
# parts, with restart markers in between so that they are read wherever a file with restarts breaks off. The
# 00 at the beginning completes an FF at the end of what is before.
_MORE_JPEG_DATA = b"\0" + b"".join(
    bytes((31 * part + 37 * place) % 255 for place in range(255)) + bytes([0xFF, 0xD0 + part % 8])
    for part in range(9)
)


def may_lack_data(image: JpegImageFile, *, whole: tuple[int, int]) -> bool:
    """Whether a decoded JPEG has to be looked at by `lacks_data`: libjpeg fills in without a word.

    What a sequential file lacks is grey, so its last pixel tells, if it is decoded at its `whole` size: at a
    part of it a pixel is the mean of several. A progressive file shows its coarse form.
    """
    if image.size != whole:
        return True
    last = image.getpixel((image.width - 1, image.height - 1))
    values = last if isinstance(last, tuple) else (last,)
    # Inverted, as CMYK mostly is, 128 becomes 127.
    return bool(image.info.get("progressive")) or all(value in (127, 128) for value in values)


def lacks_data(content: bytes, known: bytes, size: tuple[int, int]) -> bool:
    """Whether the compressed data of a JPEG end before its last block.

    Then more data before the end marker change the pixels; else the decoder passes over them. A progressive
    file that breaks off at the very end of a scan cannot be told from one that was written with fewer scans.

    Args:
        known: `digest` of the pixels that it has when it is decoded at this size, (width, height).
    """
    end = content.rfind(b"\xff\xd9")
    with Image.open(io.BytesIO(content[:end] + _MORE_JPEG_DATA + content[end:]), formats=("JPEG",)) as longer:
        if longer.size != size:
            longer.draft(None, (max(1, size[0] - 1), max(1, size[1] - 1)))
        return digest(longer) != known


def digest(image: Image.Image) -> bytes:
    """The SHA-256 of the pixels of an image."""
    found = hashlib.sha256()
    for _, strip in strips(image):
        found.update(strip.tobytes())
    return found.digest()
