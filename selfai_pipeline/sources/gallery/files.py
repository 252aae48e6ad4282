"""The bytes of each picture of the gallery, sound or spoilt on purpose."""

import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from selfai_pipeline.sources.gallery.plan import Item, Kind
from selfai_pipeline.sources.gallery.portraits import render_portrait
from selfai_pipeline.sources.gallery.scenery import landscape, still_life, with_grain

EXIF_ORIENTATION, EXIF_DESCRIPTION, EXIF_GPS = 0x0112, 0x010E, 0x8825
TINY_SIDE = 40

RgbPicture = NDArray[np.uint8]


def portrait_file(item: Item, *, typical_side: int) -> bytes:
    """The file of an item that shows a portrait of its own, in the form that its kind asks for."""
    if item.portrait is None:
        raise ValueError(f"{item.name} shows no portrait")
    pixels = render_portrait(item.portrait, typical_side=typical_side).pixels
    quality = 88 + item.seed % 8
    match item.kind:
        case Kind.GREY:
            return encoded(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.uint8), quality=quality)
        case Kind.TRANSPARENT:
            return _vignette(pixels)
        case Kind.ROTATED:
            return _rotated(pixels, quality=quality)
        case Kind.CMYK:
            return _saved(Image.fromarray(pixels).convert("CMYK"), quality=quality)
        case Kind.BLURRED:
            side = min(pixels.shape[:2])
            return encoded(cv2.GaussianBlur(pixels, (0, 0), side / 28).astype(np.uint8), quality=quality)
        case Kind.TINY:
            small = cv2.resize(pixels, (TINY_SIDE, TINY_SIDE), interpolation=cv2.INTER_AREA)
            return encoded(small.astype(np.uint8), quality=quality)
        case Kind.TRUNCATED:
            whole = encoded(pixels, quality=quality)
            return whole[: len(whole) * 2 // 5]
        case _:
            return encoded(pixels, quality=quality)


def other_file(item: Item, *, original: bytes, typical_side: int) -> bytes:
    """The file of an item without a portrait of its own; `original` holds what a repeating one repeats."""
    match item.kind:
        case Kind.SCENERY:
            return _scene(item.seed, typical_side)
        case Kind.COPY:
            return original
        case Kind.REENCODED | Kind.REPUBLISHED:
            return _smaller(original, share=0.72 + (item.seed % 17) / 100)
        case Kind.PAGE:
            return b"<!doctype html><title>Gone</title><p>This picture has moved. The gallery is rendered.\n"
        case _:
            return b""


def encoded(pixels: RgbPicture, *, quality: int) -> bytes:
    """A baseline JPEG of RGB [h, w, 3] or grey [h, w]."""
    ordered = pixels if pixels.ndim == 2 else pixels[..., ::-1]
    _, content = cv2.imencode(".jpg", ordered, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return content.tobytes()


def _saved(picture: Image.Image, *, quality: int, exif: Image.Exif | None = None) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality, exif=exif or b"")
    return stream.getvalue()


def _vignette(pixels: RgbPicture) -> bytes:
    """An oval cut-out with a soft edge, as PNG with transparency."""
    height, width = pixels.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    alpha = np.clip((1.18 - np.hypot(x, y)) * 8, 0, 1) * 255
    with_alpha = np.dstack([pixels[..., ::-1], alpha.astype(np.uint8)])
    return cv2.imencode(".png", with_alpha)[1].tobytes()


def _rotated(pixels: RgbPicture, *, quality: int) -> bytes:
    """As a camera held upright stores it: turned by a quarter, orientation 6, a made-up position."""
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    exif[EXIF_DESCRIPTION] = "rendered portrait, simulated position"
    gps = exif.get_ifd(EXIF_GPS)
    gps.update({1: "N", 2: (0.0, 0.0, 0.0), 3: "E", 4: (0.0, 0.0, 0.0)})
    stored = np.rot90(pixels)
    return _saved(Image.fromarray(np.ascontiguousarray(stored)), quality=quality, exif=exif)


def _scene(seed: int, typical_side: int) -> bytes:
    generator = np.random.default_rng(seed)
    width = round(typical_side * generator.uniform(0.8, 4 / 3))
    height = round(width * generator.uniform(0.66, 0.9))
    draw = landscape if generator.random() < 0.6 else still_life
    picture = draw(generator, width=width, height=height, hue=float(generator.random()))
    grained = with_grain(picture, generator, strength=0.015)
    return encoded((np.clip(grained, 0, 1) * 255 + 0.5).astype(np.uint8), quality=90)


def _smaller(content: bytes, *, share: float) -> bytes:
    """The same picture at fewer pixels and a lower quality: a near-duplicate with other bytes."""
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError("the original of a near-duplicate cannot be decoded")
    small = cv2.resize(picture, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 72])[1].tobytes()
