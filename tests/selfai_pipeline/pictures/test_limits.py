"""What would cost too much memory or time is refused by its header, or decoded at a size that costs less."""

import io
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from selfai_pipeline.pictures.decoding import PictureError, decode_rgb, decode_shrunk
from selfai_pipeline.pictures.limits import MOST_BYTES, MOST_SCANS

LIMIT = 1_000_000


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


def colours(height: int = 24, width: int = 36) -> npt.NDArray[np.uint8]:
    """A smooth picture, so that lossy formats keep it nearly."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([255 * x / (width - 1), 255 * y / (height - 1), 128 + 0 * x], axis=2).astype(np.uint8)


def decode(content: bytes, **options: int) -> npt.NDArray[np.uint8]:
    return decode_rgb(content, **{"max_pixels": LIMIT, **options})


def large(seed: int = 0, *, height: int = 1100, width: int = 1400) -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    smooth = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    return Image.fromarray(np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8))


def claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims a size and, once decoded, would take it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(10_000, 10_000), (13_000, 13_000), (60_000, 60_000)])
def test_too_many_pixels_are_refused_by_the_header_alone(size: tuple[int, int]) -> None:
    content = claims(*size)
    tracemalloc.start()
    with pytest.raises(PictureError) as raised:
        decode_rgb(content, max_pixels=50_000_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert raised.value.reason == "too_many_pixels"
    assert peak < 2_000_000


def test_the_limit_itself_is_allowed() -> None:
    content = encoded(Image.fromarray(colours()))
    assert decode(content, max_pixels=24 * 36).shape == (24, 36, 3)
    with pytest.raises(PictureError, match="too_many_pixels"):
        decode(content, max_pixels=24 * 36 - 1)


@pytest.mark.parametrize("stray", [b"", b"\x12", b"\xff", b"\xff\0", b"\xff\x01", b"\xff\xd0"])
def test_a_jpeg_of_thousands_of_scans_is_refused_before_decoding(stray: bytes) -> None:
    """Stray bytes before the header of the picture, which libjpeg passes over, do not hide them."""
    content = encoded(large(3, height=200, width=300), "JPEG", progressive=True)
    assert decode(content).shape == (200, 300, 3)
    # In a segment that nobody reads stands what would be the beginning of a scan of a plain file.
    decoy = b"\xff\xfe\x00\x0c" + b"\xff\xda\x00\x0c\x03" + bytes(5)
    content = content[:2] + decoy + content[2:]
    last = content.rindex(b"\xff\xda")
    many = content[:last] + content[last:-2] * MOST_SCANS + b"\xff\xd9"
    header = many.index(b"\xff\xc2")
    many = many[:header] + stray + many[header:]
    with pytest.raises(PictureError, match="too_many_scans"):
        decode(many)


BOMBS: dict[str, tuple[str, str, tuple[int, int], dict[str, object]]] = {
    "JPEG": ("RGB", "JPEG", (5400, 5500), {}),
    "progressive JPEG": ("RGB", "JPEG", (3800, 3900), {"progressive": True}),
    "progressive JPEG, full colour": (
        "RGB",
        "JPEG",
        (3100, 3200),
        {"progressive": True, "subsampling": 0},
    ),
    "CMYK": ("CMYK", "JPEG", (2440, 2440), {"progressive": True}),
    "PNG": ("RGB", "PNG", (3540, 3600), {}),
    "PNG with transparency": ("RGBA", "PNG", (3540, 3600), {}),
    "grey PNG": ("L", "PNG", (4700, 4750), {}),
    "palette": ("P", "GIF", (4700, 4750), {}),
    "WebP": ("RGBA", "WEBP", (2150, 2180), {}),
}
MEASURING = """
import sys
from selfai_pipeline.pictures.decoding import decode_rgb, decode_shrunk
def peak():
    with open("/proc/self/status") as status:
        return int(status.read().split("VmHWM:")[1].split()[0]) * 1024
bomb, spark = (open(path, "rb").read() for path in sys.argv[1:])
for decode in (lambda content: decode_rgb(content, max_pixels=10**9),
               lambda content: decode_shrunk(content, max_pixels=10**9, side=256)):
    decode(spark)
before = peak()
decode_shrunk(bomb, max_pixels=10**9, side=256)
shrunk = peak()
decode_rgb(bomb, max_pixels=10**9)
print(shrunk - before, peak() - before)
"""
MEASURING_LARGE = (
    MEASURING.partition("before = peak()")[0]
    + """
before = peak()
shrunk = decode_shrunk(bomb, max_pixels=10**9, side=8660).pixels
print(peak() - before, *shrunk.shape[:2], shrunk[-1, -1, 0])
"""
)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize("kind", BOMBS)
def test_the_largest_picture_that_is_decoded_costs_less_than_100_megabytes(kind: str, tmp_path: Path) -> None:
    mode, format_name, size, options = BOMBS[kind]
    paths = [tmp_path / "bomb", tmp_path / "spark"]
    for path, dimensions in zip(paths, (size, (64, 64)), strict=True):
        path.write_bytes(encoded(Image.new(mode, dimensions), format_name, **options))
    result = subprocess.run(
        [sys.executable, "-c", MEASURING, *map(str, paths)], capture_output=True, text=True, check=True
    )
    shrunk, whole = map(int, result.stdout.split())
    assert shrunk <= whole < 100_000_000
    # One twice as large is refused: this is the largest, but for a twentieth.
    more = encoded(Image.new(mode, (2 * size[0], size[1])), format_name, **options)
    with pytest.raises(PictureError, match="too_many_pixels"):
        decode_rgb(more, max_pixels=10**9)
    assert whole > 0.55 * MOST_BYTES


LARGE: dict[str, tuple[str, tuple[int, int], dict[str, object], bytes]] = {
    "50 megapixels": ("RGB", (8660, 5770), {}, b""),
    "50 megapixels with stray bytes, which Pillow decodes": ("RGB", (8660, 5770), {}, b"\x12" * 40),
    "29 megapixels, progressive": ("RGB", (6500, 4460), {"progressive": True}, b""),
    "14 megapixels, progressive, full colour": (
        "RGB",
        (4600, 3040),
        {"progressive": True, "subsampling": 0},
        b"",
    ),
}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize("kind", LARGE)
def test_a_camera_s_jpeg_is_shrunk_where_the_whole_would_take_too_much(kind: str, tmp_path: Path) -> None:
    mode, (width, height), options, junk = LARGE[kind]
    content = encoded(Image.new(mode, (width, height), (200, 100, 50)), "JPEG", **options)
    paths = [tmp_path / "large", tmp_path / "spark"]
    paths[0].write_bytes(content[:-2] + junk + content[-2:])
    paths[1].write_bytes(encoded(Image.new(mode, (64, 64)), "JPEG", **options))
    result = subprocess.run(
        [sys.executable, "-c", MEASURING_LARGE, *map(str, paths)], capture_output=True, text=True, check=True
    )
    peak, shrunk_height, shrunk_width, red = map(int, result.stdout.split())
    assert peak < 100_000_000
    divisor = next(n for n in (2, 4, 8) if -(-height // n) == shrunk_height)
    assert shrunk_width == -(-width // divisor)
    assert abs(red - 200) <= 3


def test_a_side_that_memory_does_not_have_gives_the_largest_that_it_has() -> None:
    content = encoded(Image.new("L", (7000, 6000)), "JPEG")
    with pytest.raises(PictureError, match="too_many_pixels"):
        decode_rgb(content, max_pixels=10**8)
    assert decode_shrunk(content, max_pixels=10**8, side=7000).pixels.shape == (3000, 3500, 3)
