"""Every kind of picture gives the right pixels, or a reason."""

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
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from selfai_pipeline.pictures import decoding
from selfai_pipeline.pictures.decoding import (
    BACKDROP,
    MOST_BYTES,
    MOST_SCANS,
    PictureError,
    decode_rgb,
    decode_shrunk,
)
from selfai_pipeline.pictures.measures import measure, measured_luma

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


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_lossless_formats_keep_every_pixel(kind: str) -> None:
    assert np.array_equal(decode(encoded(Image.fromarray(colours()), kind)), colours())


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"quality": 95}), ("WEBP", {"quality": 95})])
def test_lossy_formats_keep_the_picture(kind: str, options: dict[str, int]) -> None:
    pixels = decode(encoded(Image.fromarray(colours()), kind, **options))
    assert np.abs(pixels.astype(int) - colours()).mean() < 4


def test_grey_has_three_equal_channels() -> None:
    grey = colours()[:, :, 0]
    for kind in ("PNG", "JPEG"):
        pixels = decode(encoded(Image.fromarray(grey), kind))
        assert pixels.shape == (24, 36, 3)
        assert np.ptp(pixels, axis=2).max() == 0
        assert np.abs(pixels[:, :, 0].astype(int) - grey).max() <= 4


def test_one_bit_a_pixel_is_black_and_white() -> None:
    bits = Image.fromarray(colours()[:, :, 0]).convert("1")
    assert set(np.unique(decode(encoded(bits)))) == {0, 255}


def test_transparent_pixels_lie_over_mid_grey() -> None:
    layer = np.dstack([colours(), np.full((24, 36), 255, np.uint8)])
    layer[:12, :, 3] = 0
    layer[12:14, :, 3] = 128
    pixels = decode(encoded(Image.fromarray(layer)))
    assert np.all(pixels[:12] == BACKDROP)
    half = (colours()[12:14].astype(int) + BACKDROP) / 2
    assert np.abs(pixels[12:14] - half).max() <= 2
    assert np.array_equal(pixels[14:], colours()[14:])


def test_grey_with_transparency_lies_over_mid_grey_too() -> None:
    layer = np.dstack([colours()[:, :, 0], np.zeros((24, 36), np.uint8)])
    assert np.all(decode(encoded(Image.fromarray(layer, "LA"))) == BACKDROP)


def test_a_palette_with_a_transparent_colour() -> None:
    image = Image.new("P", (4, 1))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putdata([0, 1, 0, 1])
    pixels = decode(encoded(image, transparency=1))
    assert pixels[0].tolist() == [[255, 0, 0], [BACKDROP] * 3, [255, 0, 0], [BACKDROP] * 3]


def test_cmyk_is_converted() -> None:
    cmyk = Image.fromarray(colours()).convert("CMYK")
    pixels = decode(encoded(cmyk, "JPEG", quality=95))
    assert np.abs(pixels.astype(int) - colours()).mean() < 6


def test_sixteen_bits_are_scaled_to_eight() -> None:
    deep = np.linspace(0, 65535, 24 * 36).reshape(24, 36).astype(np.uint16)
    written, content = cv2.imencode(".png", deep)
    assert written
    pixels = decode(content.tobytes())
    assert np.abs(pixels[:, :, 1] - deep / 257).max() <= 0.5


def test_sixteen_bits_of_colour_are_scaled_to_eight() -> None:
    deep = colours().astype(np.uint16) * 257
    written, content = cv2.imencode(".png", deep[:, :, ::-1])
    assert written
    assert np.array_equal(decode(content.tobytes()), colours())


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation_counts(kind: str) -> None:
    frames = [Image.new("RGB", (16, 12), colour) for colour in ("#c80000", "#00c800", "#0000c8")]
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
    assert np.abs(decode(content).astype(int) - [200, 0, 0]).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_undone_as_exif_means_it(orientation: int) -> None:
    """Pillow's own transposition of a file that carries the tag is the reference."""
    from PIL import ImageOps

    stored = Image.fromarray(colours())
    exif = Image.Exif()
    exif[274] = orientation
    with Image.open(io.BytesIO(encoded(stored, exif=exif.tobytes()))) as tagged:
        expected = np.asarray(ImageOps.exif_transpose(tagged))
    assert np.array_equal(decode(encoded(stored), orientation=orientation), expected)


def test_an_orientation_inside_the_bytes_is_not_applied_twice() -> None:
    exif = Image.Exif()
    exif[274] = 6
    content = encoded(Image.fromarray(colours()), exif=exif.tobytes())
    assert decode(content).shape == (24, 36, 3)
    assert decode(content, orientation=6).shape == (36, 24, 3)


def test_an_unknown_orientation_is_an_error_of_the_caller() -> None:
    with pytest.raises(ValueError, match="1 to 8"):
        decode(encoded(Image.fromarray(colours())), orientation=9)


def noisy(kind: str) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return encoded(Image.fromarray(noise), kind)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty_file"),
        (b"\0" * 500, "not_a_picture"),
        (b"this is a text file, not a picture\n" * 20, "not_a_picture"),
        (b"<html><body>404</body></html>", "not_a_picture"),
        (encoded(Image.new("RGB", (4, 4)), "TIFF"), "not_a_picture"),
        (noisy("JPEG")[:-800], "truncated"),
        (noisy("PNG")[:-800], "truncated"),
        (noisy("BMP")[:-800], "truncated"),
        (noisy("WEBP")[:-800], "truncated"),
        (noisy("GIF")[:-800], "truncated"),
    ],
)
def test_what_is_no_whole_picture_has_a_reason(content: bytes, reason: str) -> None:
    with pytest.raises(PictureError) as raised:
        decode(content)
    assert raised.value.reason in ({reason, "undecodable"} if reason == "truncated" else {reason})


def test_a_truncated_jpeg_is_told_from_a_broken_one() -> None:
    with pytest.raises(PictureError) as raised:
        decode(noisy("JPEG")[:-800])
    assert raised.value.reason == "truncated"


JPEG_KINDS: dict[str, tuple[str, dict[str, object]]] = {
    "sequential": ("RGB", {}),
    "without subsampling": ("RGB", {"subsampling": 0}),
    "grey": ("L", {}),
    "CMYK": ("CMYK", {}),
    "progressive": ("RGB", {"progressive": True}),
    "restart each row": ("RGB", {"restart_marker_rows": 1}),
    "restart each block": ("RGB", {"restart_marker_blocks": 1}),
    "progressive with restarts": ("RGB", {"progressive": True, "restart_marker_blocks": 3}),
}


@pytest.mark.parametrize("kind", JPEG_KINDS)
def test_a_jpeg_that_breaks_off_before_an_end_marker_is_truncated(kind: str) -> None:
    """libjpeg decodes it without a word: the rest is grey, or as coarse as the first scans made it."""
    mode, options = JPEG_KINDS[kind]
    noise = np.random.default_rng(1).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((256, 192)).convert(mode)
    content = encoded(image, "JPEG", **options)
    assert decode(content).shape == (192, 256, 3)
    first_scan = content.index(b"\xff\xda") + 20
    for share in np.linspace(0.05, 0.95, 19):
        end = first_scan + round(share * (len(content) - first_scan))
        with pytest.raises(PictureError) as raised:
            decode(content[:end] + b"\xff\xd9")
        assert raised.value.reason in ("truncated", "undecodable"), share


@pytest.mark.parametrize("kind", JPEG_KINDS)
def test_a_whole_jpeg_that_is_grey_to_its_end_is_no_truncated_one(kind: str) -> None:
    mode, options = JPEG_KINDS[kind]
    grey = np.full((96, 96, 3), 128, dtype=np.uint8)
    grey[:40, :40] = colours(40, 40)
    content = encoded(Image.fromarray(grey).convert(mode), "JPEG", **options)
    assert decode(content).shape == (96, 96, 3)


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


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "BMP"]),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    share=st.floats(0, 1),
)
def test_damaged_files_never_raise_anything_else(
    kind: str, changes: list[tuple[float, int]], share: float
) -> None:
    content = bytearray(encoded(Image.fromarray(colours()), kind))
    for place, value in changes:
        content[int(place * len(content))] = value
    try:
        pixels = decode(bytes(content[: round(share * len(content))]))
    except PictureError:
        return
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3


def large(seed: int = 0, *, height: int = 1100, width: int = 1400) -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    smooth = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    return Image.fromarray(np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("size", "divisor"),
    [((1100, 1400), 4), ((511, 300), 1), ((512, 300), 2), ((2049, 1023), 8), ((2047, 1), 4), ((90, 60), 1)],
)
def test_a_picture_is_shrunk_to_no_less_than_the_side(kind: str, size: tuple[int, int], divisor: int) -> None:
    content = encoded(large(height=size[0], width=size[1]), kind)
    shrunk = decode_shrunk(content, max_pixels=10_000_000, side=256)
    assert (shrunk.height, shrunk.width) == size
    assert shrunk.pixels.shape == (-(-size[0] // divisor), -(-size[1] // divisor), 3)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_shrunk_picture_is_upright(orientation: int) -> None:
    content = encoded(large(), "JPEG", quality=95)
    whole = decode_rgb(content, orientation=orientation, max_pixels=10_000_000)
    shrunk = decode_shrunk(content, orientation=orientation, max_pixels=10_000_000, side=256)
    assert (shrunk.height, shrunk.width) == whole.shape[:2]
    averaged = cv2.resize(whole, shrunk.pixels.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(averaged.astype(int) - shrunk.pixels).mean() < 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("side", [64, 128, 256, 512])
def test_it_says_where_its_pixels_lie_in_the_whole(kind: str, orientation: int, side: int) -> None:
    """A mark at a known place of a picture with odd sides is at that place in every shrunk one."""
    height, width, y, x = 523, 615, 401.0, 307.0
    rows, columns = np.mgrid[0:height, 0:width] + 0.5
    mark = 255 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 2 / 24**2)
    content = encoded(
        Image.fromarray(mark.astype(np.uint8)), kind, **({"quality": 95} if kind == "JPEG" else {})
    )
    shrunk = decode_shrunk(content, orientation=orientation, max_pixels=10**6, side=side)
    assert shrunk.divisor == min(8, 512 // side)
    weights = shrunk.pixels[..., 0].astype(float)
    rows, columns = np.mgrid[0 : weights.shape[0], 0 : weights.shape[1]] + 0.5
    found = [
        float((places * weights).sum() / weights.sum()) * shrunk.divisor + start
        for places, start in ((columns, shrunk.left), (rows, shrunk.top))
    ]
    across = {1: x, 2: width - x, 3: width - x, 4: x, 5: y, 6: height - y, 7: height - y, 8: y}
    down = {1: y, 2: y, 3: height - y, 4: height - y, 5: x, 6: x, 7: width - x, 8: width - x}
    assert found == pytest.approx([across[orientation], down[orientation]], abs=0.3)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_measures_of_a_shrunk_picture_are_those_of_the_whole(kind: str, seed: int) -> None:
    """The whole, averaged over areas as a PNG is, against what is decoded at a quarter."""
    content = encoded(large(seed), kind, **({"quality": 90} if kind == "JPEG" else {}))
    whole = decode_rgb(content, max_pixels=10_000_000)
    averaged = np.asarray(cv2.resize(whole, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA))
    shrunk = decode_shrunk(content, max_pixels=10_000_000, side=256).pixels
    expected, found = (measure(one, measured_luma(one)) for one in (averaged.astype(np.uint8), shrunk))
    assert found.brightness == pytest.approx(expected.brightness, abs=0.5)
    assert found.contrast == pytest.approx(expected.contrast, rel=0.02)
    assert found.entropy == pytest.approx(expected.entropy, abs=0.05)
    assert found.saturation == pytest.approx(expected.saturation, rel=0.03)
    assert found.blur == pytest.approx(expected.blur, rel=0.1)


@pytest.mark.parametrize("kind", JPEG_KINDS)
def test_a_shrunk_jpeg_that_breaks_off_is_told_as_the_whole_is(kind: str) -> None:
    mode, options = JPEG_KINDS[kind]
    content = encoded(large(1, height=400, width=600).convert(mode), "JPEG", **options)
    first_scan = content.index(b"\xff\xda") + 20
    for share in (0.1, 0.4, 0.7, 0.95):
        end = first_scan + round(share * (len(content) - first_scan))
        for tail in (b"", b"\xff\xd9"):
            with pytest.raises(PictureError) as raised:
                decode_shrunk(content[:end] + tail, max_pixels=LIMIT, side=64)
            assert raised.value.reason in ("truncated", "undecodable")


@pytest.mark.parametrize("back", range(4, 16, 2))
def test_a_jpeg_too_large_to_be_decoded_whole_is_truncated_where_its_last_block_lacks_details(
    monkeypatch: pytest.MonkeyPatch, back: int
) -> None:
    monkeypatch.setattr(decoding, "MOST_BYTES", 400_000)
    noise = np.clip(np.random.default_rng(0).normal(128, 12, (400, 600)), 0, 255).astype(np.uint8)
    content = encoded(Image.fromarray(noise), "JPEG", quality=80)
    assert decode_shrunk(content[:-2] + b"stray\xff\xd9", max_pixels=LIMIT, side=256).divisor == 2
    breaks_off = content[: -2 - back] + b"\xff\xd9"
    with pytest.raises(PictureError, match="truncated"):
        decode_shrunk(breaks_off, max_pixels=LIMIT, side=256)
    # It has all that an eighth shows: the means of its blocks.
    assert decode_shrunk(breaks_off, max_pixels=LIMIT, side=64).divisor == 8


@pytest.mark.parametrize("junk", [b"\0\0\0", b"\x12" * 40])
def test_a_jpeg_with_stray_bytes_is_decoded_all_the_same(junk: bytes) -> None:
    content = encoded(large(2, height=200, width=300), "JPEG")
    stray = content[:-2] + junk + content[-2:]
    assert np.array_equal(decode(stray), decode(content))


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
