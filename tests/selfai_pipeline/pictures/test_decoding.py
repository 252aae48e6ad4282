"""Every kind of picture gives the right pixels, or a reason."""

import io

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from selfai_pipeline.pictures.decoding import (
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
