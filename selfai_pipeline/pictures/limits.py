"""What decoding a picture would cost, told from its header alone, and at what size it costs less."""

MOST_BYTES = 90_000_000
"""Memory that decoding one picture may take by what its format costs a pixel; what would need more has too
many pixels."""

MOST_SCANS = 100
"""Of a JPEG: each costs a pass over the whole picture for a few bytes of file. Encoders write about ten."""

_SCAN_START = b"\xff\xda"
_WITHOUT_SEGMENT = (0x00, 0x01, *range(0xD0, 0xD8))
"""Of a JPEG's markers: no marker, TEM, and those that restart."""

_SAMPLES = {"Gray": 1.0, "420": 1.5, "411": 1.5, "422": 2.0, "440": 2.0}
"""Samples a pixel of JPEG's ways to store colour; 3 for all others."""


def is_affordable(pixels: int, bytes_each: float) -> bool:
    """Whether decoding takes no more than `MOST_BYTES` of memory."""
    return pixels * bytes_each <= MOST_BYTES


def has_too_many_scans(content: bytes) -> bool:
    """Whether a JPEG has more than `MOST_SCANS`."""
    return has_several_scans(content) and content.count(_SCAN_START) > MOST_SCANS


def jpeg_kept(content: bytes, sampling: str) -> float:
    """Bytes that libjpeg keeps of each pixel of a JPEG while it decodes: of several scans the coefficients, 2
    bytes each, until the last."""
    return 2 * _SAMPLES.get(sampling, 3.0) if has_several_scans(content) else 0.0


def has_several_scans(content: bytes) -> bool:
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


def least_divisor(height: int, width: int, *, side: int | None) -> int:
    """By how much a picture is shrunk while it is decoded: a power of two that leaves `side` pixels."""
    longest = max(height, width)
    return 1 if side is None else max(n for n in (1, 2, 4, 8) if n == 1 or longest >= n * side)


def jpeg_divisor(height: int, width: int, *, side: int | None, made: float, kept: float) -> int | None:
    """By how much a JPEG is shrunk while it is decoded: as `least_divisor`, or more where memory asks for it.

    None where at no size it takes less than `MOST_BYTES`.

    Args:
        made: bytes that are made of each pixel of the shrunk picture.
        kept: bytes that each pixel of the file takes beside them, whatever the size that comes out.
    """
    least = least_divisor(height, width, side=side)
    for n in (1,) if side is None else (1, 2, 4, 8):
        if n >= least and is_affordable(height * width, made / n**2 + kept):
            return n
    return None
