"""Headers are read, metadata is dropped without touching a pixel, broken files are named by what is wrong."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from selfai_pipeline.sources.picture_files import (
    PictureFacts,
    PictureFileError,
    clean_picture,
    inspect_picture,
    strip_metadata,
)

FORMATS = ["jpeg", "png", "gif", "webp", "bmp"]


def picture(mode: str = "RGB", *, width: int = 40, height: int = 24) -> Image.Image:
    values = np.random.default_rng(5).integers(0, 256, (height, width, 4), dtype=np.uint8)
    return Image.fromarray(values, "RGBA").convert(mode)


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


def exif(orientation: int) -> Image.Exif:
    data = Image.Exif()
    data[0x0112] = orientation
    data[0x010F] = "SECRET CAMERA"
    data.get_ifd(0x8825)[2] = (51.0, 30.0, 12.0)
    data.get_ifd(0x8825)[1] = "N"
    return data


def pixels(content: bytes) -> np.ndarray[Any, Any]:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGBA"))


def reason(content: bytes, **options: Any) -> str:
    with pytest.raises(PictureFileError) as caught:
        inspect_picture(content, **options)
    return caught.value.reason


@pytest.mark.parametrize("kind", FORMATS)
def test_format_and_size_are_read_from_the_bytes(kind: str) -> None:
    assert inspect_picture(encode(picture(), kind)) == PictureFacts(kind, 40, 24, 1)


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_metadata_goes_and_orientation_is_reported(kind: str, orientation: int) -> None:
    content = encode(picture(), kind, exif=exif(orientation), xmp=b"<x:xmpmeta>SECRET</x:xmpmeta>")
    assert b"SECRET" in content
    facts, cleaned = clean_picture(content)
    assert facts.orientation == orientation
    assert b"SECRET" not in cleaned
    assert b"Exif" not in cleaned
    with Image.open(io.BytesIO(cleaned)) as image:
        assert not image.getexif()
    assert np.array_equal(pixels(cleaned), pixels(content))


def test_comments_and_text_go() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "SECRET")
    text.add_itxt("Place", "SECRET", zip=False)
    for content in (
        encode(picture(), "jpeg", comment=b"SECRET"),
        encode(picture(), "gif", comment=b"SECRET"),
        encode(picture(), "png", pnginfo=text),
    ):
        assert b"SECRET" in content
        assert b"SECRET" not in strip_metadata(content)
        assert np.array_equal(pixels(strip_metadata(content)), pixels(content))


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_the_colour_profile_stays(kind: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    with Image.open(io.BytesIO(strip_metadata(encode(picture(), kind, icc_profile=profile)))) as image:
        assert image.info["icc_profile"] == profile


def test_what_follows_the_end_goes() -> None:
    for kind in FORMATS:
        content = encode(picture(), kind)
        assert strip_metadata(content + b"SECRET appended film") == strip_metadata(content)


def test_the_thumbnail_in_a_jpeg_header_goes() -> None:
    content = encode(picture(), "jpeg")
    thumbnail = b"\x02\x02" + b"SECRET......"
    header = b"\xff\xe0" + struct.pack(">H", 2 + 12 + len(thumbnail)) + content[6:18] + thumbnail
    with_thumbnail = content[:2] + header + content[20:]
    assert np.array_equal(pixels(with_thumbnail), pixels(content))
    assert strip_metadata(with_thumbnail) == strip_metadata(content)


@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        ("L", "jpeg", {}),
        ("CMYK", "jpeg", {}),
        ("RGB", "jpeg", {"progressive": True}),
        ("RGB", "jpeg", {"restart_marker_rows": 1}),
        ("RGBA", "png", {}),
        ("P", "png", {}),
        ("1", "png", {}),
        ("I;16", "png", {}),
        ("RGB", "webp", {"lossless": True}),
        ("RGBA", "webp", {}),
        ("P", "gif", {"interlace": True}),
        ("L", "bmp", {}),
        ("1", "bmp", {}),
    ],
)
def test_every_kind_of_picture_keeps_its_pixels(mode: str, kind: str, options: dict[str, Any]) -> None:
    image = picture("L").convert("I").convert("I;16") if mode == "I;16" else picture(mode)
    content = encode(image, kind, **options)
    cleaned = strip_metadata(content)
    with Image.open(io.BytesIO(content)) as before, Image.open(io.BytesIO(cleaned)) as after:
        assert before.mode == after.mode
        assert np.array_equal(np.asarray(before), np.asarray(after))


@pytest.mark.parametrize("kind", ["png", "gif", "webp"])
def test_an_animation_keeps_its_frames(kind: str) -> None:
    frames = [picture().rotate(90 * turn) for turn in range(3)]
    content = encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=50, loop=0)
    with Image.open(io.BytesIO(strip_metadata(content))) as image:
        assert image.n_frames == 3  # type: ignore[attr-defined]


def test_bytes_that_are_no_picture_are_named() -> None:
    assert reason(b"") == "empty_file"
    assert reason(b"<html><body>not found</body></html>") == "not_a_picture"
    assert reason(b"BM, a letter that begins with the initials of its author") == "not_a_picture"
    assert reason(b"II*\0" + bytes(20)) == "unsupported_format"
    assert reason(b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>') == "unsupported_format"
    assert reason(b"\0\0\0\x1cftypavif" + bytes(20)) == "unsupported_format"
    assert reason(b"\0\0\0\x1cftypisom" + bytes(20)) == "not_a_picture"


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_that_ends_early_is_truncated(kind: str) -> None:
    content = encode(picture(), kind)
    assert reason(content[: len(content) * 2 // 3]) == "truncated"


def test_a_bomb_is_seen_in_the_header() -> None:
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    bomb = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    assert reason(bomb, max_pixels=100_000_000) == "too_many_pixels"
    assert inspect_picture(bomb).width == 50_000


def test_the_pixel_cap_is_inclusive() -> None:
    content = encode(picture(), "png")
    assert inspect_picture(content, max_pixels=40 * 24).height == 24
    assert reason(content, max_pixels=40 * 24 - 1) == "too_many_pixels"


def test_the_colour_profile_behind_the_pixels_of_a_bmp_stays_and_what_follows_it_goes() -> None:
    plain = encode(picture(), "bmp")
    profile = b"profile"
    header = bytearray(plain[14:54].ljust(124, b"\0"))
    header[:4] = struct.pack("<I", 124)
    header[56:60] = b"DEBM"
    header[112:120] = struct.pack("<II", 124 + len(plain) - 54, len(profile))
    content = plain[:10] + struct.pack("<I", 138) + bytes(header) + plain[54:] + profile
    cleaned = strip_metadata(content + b"SECRET")
    assert cleaned.endswith(profile)
    assert strip_metadata(cleaned) == cleaned
    assert np.array_equal(pixels(cleaned), pixels(plain))


def test_a_compressed_bmp_ends_where_its_header_says() -> None:
    """Two rows of four pixels in runs of one colour (BI_RLE8)."""
    data = bytes([4, 1, 0, 0, 4, 2, 0, 1])
    palette = bytes(range(256)) * 4
    header = struct.pack("<IiiHHIiiiII", 40, 4, 2, 1, 8, 1, len(data), 0, 0, 256, 0)
    offset = 14 + 40 + len(palette)
    content = struct.pack("<2sIII", b"BM", offset + len(data), 0, offset) + header + palette + data
    assert strip_metadata(content + b"SECRET") == content
    assert reason(content[:-1]) == "truncated"


def test_a_jpeg_of_many_scans_is_refused() -> None:
    """Each further scan costs a decoder one more pass over all pixels, and the file a few bytes."""
    content = encode(picture(), "jpeg", progressive=True)
    last = content.rindex(b"\xff\xda")
    scan = content[last:-2]
    assert inspect_picture(content[:-2] + 80 * scan + content[-2:]).width == 40
    assert reason(content[:-2] + 100 * scan + content[-2:]) == "malformed"


def test_a_gif_frame_larger_than_its_screen_counts() -> None:
    content = bytearray(encode(picture(), "gif"))
    content[6:10] = struct.pack("<HH", 1, 1)
    assert reason(bytes(content), max_pixels=100) == "too_many_pixels"


@given(kind=st.sampled_from(FORMATS), data=st.data())
@settings(max_examples=150, deadline=None)
def test_damage_is_an_error_with_a_reason_or_a_picture_and_stripping_twice_is_stripping_once(
    kind: str, data: st.DataObject
) -> None:
    content = bytearray(encode(picture(), kind))
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        cleaned = strip_metadata(damaged)
    except PictureFileError as error:
        found = error.reason
    else:
        found = "picture"
        assert strip_metadata(cleaned) == cleaned
        assert len(cleaned) <= len(damaged) + 8
    assert found in {"picture", "empty_file", "not_a_picture", "malformed", "truncated", "unsupported_format"}
