"""A JPEG that breaks off is told, whatever its kind and the size it is decoded at."""

import io

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from selfai_pipeline.pictures import limits
from selfai_pipeline.pictures.decoding import PictureError, decode_rgb, decode_shrunk

LIMIT = 1_000_000


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


def colours(height: int = 24, width: int = 36) -> npt.NDArray[np.uint8]:
    """A smooth picture, so that lossy formats keep it nearly."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([255 * x / (width - 1), 255 * y / (height - 1), 128 + 0 * x], axis=2).astype(np.uint8)


def decode(content: bytes) -> npt.NDArray[np.uint8]:
    return decode_rgb(content, max_pixels=LIMIT)


def large(seed: int = 0, *, height: int = 1100, width: int = 1400) -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    smooth = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    return Image.fromarray(np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8))


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
    monkeypatch.setattr(limits, "MOST_BYTES", 400_000)
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
