"""The containers that pictures come in: JPEG segments, PNG chunks, GIF blocks, WebP chunks, BMP headers.

Each parser walks over one file without decoding it and names the parts that have to stay.
"""

import re
import struct
from dataclasses import dataclass, field


class PictureFileError(Exception):
    """A file that is no usable picture.

    Args:
        reason: a short code: empty_file, not_a_picture, unsupported_format, malformed, truncated or
            too_many_pixels.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass
class ParsedPicture:
    """What a parser found; `kept` joined together is the file without metadata.

    `largest_frame` is the number of pixels of the largest frame, where frames may exceed the picture.
    """

    width: int = 0
    height: int = 0
    orientation: int = 1
    largest_frame: int = 0
    kept: list[bytes] = field(default_factory=list)


def exif_orientation(tiff: bytes) -> int:
    """Orientation 1..8 of EXIF data (a TIFF structure); 1 where it says none or cannot be read.

    Source: EXIF 2.32, tag 0x0112 of the first image file directory.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, directory)
        for entry in range(entries):
            tag, kind, _ = struct.unpack_from(f"{order}HHI", tiff, directory + 2 + 12 * entry)
            if tag == 0x0112:
                number = "H" if kind == 3 else "I"
                (value,) = struct.unpack_from(f"{order}{number}", tiff, directory + 10 + 12 * entry)
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1


# Inside the compressed data an FF is followed by 00, and D0 to D7 restart it. Any other marker ends a scan.
JPEG_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
JPEG_FRAME_HEADERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
MOST_JPEG_SCANS = 100
"""A few bytes of a scan make a decoder go over every pixel once more; encoders write about ten scans."""


def parse_jpeg(content: bytes) -> ParsedPicture:
    """Walk over the segments (ITU-T T.81, annex B); ends with the first end-of-image marker."""
    parsed = ParsedPicture(kept=[b"\xff\xd8"])
    position, has_exif, scans = 2, False, 0
    while True:
        found = JPEG_MARKER.search(content, position)
        if found is None:
            raise PictureFileError("truncated")
        start = found.start()
        marker = content[start + 1]
        if marker == 0xD9:
            parsed.kept.append(b"\xff\xd9")
            break
        if marker in (0x01, 0xD8):
            position = start + 2
            continue
        (length,) = struct.unpack_from(">H", content, start + 2)
        end = start + 2 + length
        if length < 2:
            raise PictureFileError("malformed")
        if end > len(content):
            raise PictureFileError("truncated")
        payload = content[start + 4 : end]
        position = end
        if marker in JPEG_FRAME_HEADERS and not parsed.width:
            parsed.height, parsed.width = struct.unpack_from(">HH", payload, 1)
        if marker == 0xE1 and payload.startswith(b"Exif\0\0") and not has_exif:
            parsed.orientation, has_exif = exif_orientation(payload[6:]), True
        if marker == 0xE0 and payload.startswith(b"JFIF\0") and len(payload) >= 12:
            parsed.kept.append(b"\xff\xe0\x00\x10" + payload[:12] + b"\0\0")
        elif _keeps_jpeg_segment(marker, payload):
            parsed.kept.append(content[start:end])
        if marker == 0xDA:
            scans += 1
            if scans > MOST_JPEG_SCANS:
                raise PictureFileError("malformed")
            following = JPEG_MARKER.search(content, end)
            if following is None:
                raise PictureFileError("truncated")
            position = following.start()
            parsed.kept.append(content[end:position])
    if not parsed.width or not scans:
        raise PictureFileError("malformed")
    return parsed


def _keeps_jpeg_segment(marker: int, payload: bytes) -> bool:
    if marker == 0xE2:
        return payload.startswith(b"ICC_PROFILE\0")
    if marker == 0xEE:
        # Without it a decoder takes the four channels of a CMYK picture for another colour space.
        return payload.startswith(b"Adobe")
    return not 0xE0 <= marker <= 0xEF and marker != 0xFE


PNG_CHUNKS = {
    *(b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"cICP"),
    *(b"bKGD", b"pHYs", b"mDCV", b"cLLI", b"acTL", b"fcTL", b"fdAT"),
}


def parse_png(content: bytes) -> ParsedPicture:
    """Walk over the chunks (PNG, third edition, section 5)."""
    parsed = ParsedPicture(kept=[content[:8]])
    position, has_pixels = 8, False
    while True:
        length, name = struct.unpack_from(">I4s", content, position)
        end = position + 12 + length
        if end > len(content):
            raise PictureFileError("truncated")
        payload = content[position + 8 : end - 4]
        if position == 8:
            if name != b"IHDR" or length != 13:
                raise PictureFileError("malformed")
            parsed.width, parsed.height = struct.unpack_from(">II", payload)
        if name == b"eXIf":
            parsed.orientation = exif_orientation(payload)
        if name in PNG_CHUNKS:
            parsed.kept.append(content[position:end])
        has_pixels = has_pixels or name == b"IDAT"
        position = end
        if name == b"IEND":
            break
    if not has_pixels:
        raise PictureFileError("malformed")
    return parsed


GIF_APPLICATIONS = (b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012")


def parse_gif(content: bytes) -> ParsedPicture:
    """Walk over the blocks (GIF89a specification)."""
    width, height, flags = struct.unpack_from("<HHB", content, 6)
    parsed = ParsedPicture(width=width, height=height)
    position = 13 + _gif_colour_table(flags)
    parsed.kept.append(content[:position])
    has_pixels = False
    while content[position] != 0x3B:
        start, kind = position, content[position]
        keep = True
        if kind == 0x2C:
            frame_width, frame_height, flags = struct.unpack_from("<HHB", content, start + 5)
            parsed.largest_frame = max(parsed.largest_frame, frame_width * frame_height)
            position = _gif_sub_blocks_end(content, start + 11 + _gif_colour_table(flags))
            has_pixels = True
        elif kind == 0x21:
            label = content[start + 1]
            application = content[start + 3 : start + 14]
            keep = label != 0xFE and (label != 0xFF or application in GIF_APPLICATIONS)
            position = _gif_sub_blocks_end(content, start + 2)
        elif kind == 0x00:
            position += 1
            continue
        else:
            raise PictureFileError("malformed")
        if keep:
            parsed.kept.append(content[start:position])
    parsed.kept.append(b"\x3b")
    if not has_pixels:
        raise PictureFileError("malformed")
    return parsed


def _gif_colour_table(flags: int) -> int:
    """Bytes of the colour table that a descriptor's flags announce."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _gif_sub_blocks_end(content: bytes, position: int) -> int:
    while content[position]:
        position += content[position] + 1
    return position + 1


WEBP_CHUNKS = {b"VP8X", b"ICCP", b"ANIM", b"ANMF", b"ALPH", b"VP8 ", b"VP8L"}
WEBP_METADATA_FLAGS = 0x08 | 0x04  # EXIF, XMP


def parse_webp(content: bytes) -> ParsedPicture:
    """Walk over the RIFF chunks (RFC 9649)."""
    (riff_size,) = struct.unpack_from("<I", content, 4)
    end_of_file = riff_size + 8
    # The last padding byte is often left out.
    if end_of_file > len(content) + 1:
        raise PictureFileError("truncated")
    parsed, chunks, position, has_pixels = ParsedPicture(), [], 12, False
    while position + 8 <= min(end_of_file, len(content)):
        name, size = struct.unpack_from("<4sI", content, position)
        payload = content[position + 8 : position + 8 + size]
        if len(payload) < size:
            raise PictureFileError("truncated")
        position += 8 + size + size % 2
        if name == b"EXIF":
            parsed.orientation = exif_orientation(payload.removeprefix(b"Exif\0\0"))
        if name not in WEBP_CHUNKS:
            continue
        if name == b"VP8X":
            flags, canvas = payload[0], payload[4:10]
            parsed.width = 1 + int.from_bytes(canvas[:3], "little")
            parsed.height = 1 + int.from_bytes(canvas[3:], "little")
            payload = bytes([flags & ~WEBP_METADATA_FLAGS]) + payload[1:]
        elif name in (b"VP8 ", b"VP8L"):
            width, height = _webp_frame_size(name, payload)
            parsed.largest_frame = max(parsed.largest_frame, width * height)
            parsed.width, parsed.height = parsed.width or width, parsed.height or height
        has_pixels = has_pixels or name in (b"VP8 ", b"VP8L", b"ANMF")
        chunks.append(struct.pack("<4sI", name, size) + payload + b"\0" * (size % 2))
    if not has_pixels:
        raise PictureFileError("malformed")
    body = b"WEBP" + b"".join(chunks)
    parsed.kept = [struct.pack("<4sI", b"RIFF", len(body)), body]
    return parsed


def _webp_frame_size(name: bytes, payload: bytes) -> tuple[int, int]:
    if name == b"VP8L":
        signature, packed = struct.unpack_from("<BI", payload)
        if signature != 0x2F:
            raise PictureFileError("malformed")
        return 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
    start_code, width, height = struct.unpack_from("<3sHH", payload, 3)
    if start_code != b"\x9d\x01\x2a":
        raise PictureFileError("malformed")
    return width & 0x3FFF, height & 0x3FFF


def parse_bmp(content: bytes) -> ParsedPicture:
    """Read the headers (BITMAPCOREHEADER, BITMAPINFOHEADER and its extensions); BMP carries no metadata.

    The file ends with its pixels, or with the colour profile behind them.
    """
    offset, header = struct.unpack_from("<II", content, 10)
    if header == 12:
        width, height, _, depth = struct.unpack_from("<HHHH", content, 18)
        compression = size = 0
    else:
        width, height, _, depth, compression, size = struct.unpack_from("<iiHHIi", content, 18)
    height = abs(height)
    if compression in (0, 3, 6):
        size = (width * depth + 31) // 32 * 4 * height
    if width < 1 or size < 1 or offset < 14 + header:
        raise PictureFileError("malformed")
    end = offset + size
    if header == 124:
        profile, length = struct.unpack_from("<II", content, 126)
        # "MBED"; a linked profile is a path on the machine of whoever made the file.
        if content[70:74] == b"DEBM":
            end = max(end, 14 + profile + length)
    if end > len(content):
        raise PictureFileError("truncated")
    start = content[:2] + struct.pack("<I", end)
    return ParsedPicture(width=width, height=height, kept=[start, content[6:end]])
