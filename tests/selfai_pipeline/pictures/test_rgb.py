"""Images of any mode become 8-bit RGB."""

import io

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from selfai_pipeline.pictures.decoding import decode_rgb
from selfai_pipeline.pictures.rgb import BACKDROP


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


def colours(height: int = 24, width: int = 36) -> npt.NDArray[np.uint8]:
    """A smooth picture, so that lossy formats keep it nearly."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([255 * x / (width - 1), 255 * y / (height - 1), 128 + 0 * x], axis=2).astype(np.uint8)


def decode(content: bytes) -> npt.NDArray[np.uint8]:
    return decode_rgb(content, max_pixels=1_000_000)


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
