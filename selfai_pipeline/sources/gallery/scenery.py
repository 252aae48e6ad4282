"""What stands behind a portrait, and pictures without a face."""

import colorsys

import cv2
import numpy as np

from selfai_pipeline.sources.gallery.attributes import Group, Setting
from selfai_pipeline.sources.gallery.canvas import Pixels, blurred


def hue_colour(hue: float, saturation: float, value: float) -> Pixels:
    """A colour from hue, saturation and value (0..1 each), float32 RGB in 0..1."""
    return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value), dtype=np.float32)


def background(setting: Setting, generator: np.random.Generator, *, width: int, height: int) -> Pixels:
    """The background of a portrait, float32 [height, width, 3] in 0..1."""
    if setting.group is Group.STUDIO:
        return _studio(setting, generator, width, height)
    return _outdoor(setting, generator, width, height)


def _studio(setting: Setting, generator: np.random.Generator, width: int, height: int) -> Pixels:
    """A cloth lit by a lamp, with the faint clouds of a painted backdrop."""
    y, x = np.mgrid[0:64, 0:64].astype(np.float32) / 63
    colour = hue_colour(
        setting.background_hue, 0.10 + 0.35 * generator.random(), 0.42 + 0.50 * setting.background_value
    )
    spot = np.exp(-((x - generator.uniform(0.2, 0.8)) ** 2 + (y - generator.uniform(0.1, 0.7)) ** 2) / 0.35)
    clouds = blurred(generator.standard_normal((64, 64), dtype=np.float32), 6)
    clouds = clouds / np.abs(clouds).max()
    level = 0.52 + 0.68 * spot + 0.06 * clouds
    cloth = cv2.resize(
        colour * level[..., None].astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    return np.asarray(cloth, dtype=np.float32)


def _outdoor(setting: Setting, generator: np.random.Generator, width: int, height: int) -> Pixels:
    """Sky, leaves or a wall of houses far out of focus, with discs of light."""
    canvas = landscape(generator, width=160, height=160, hue=setting.background_hue)
    canvas = blurred(canvas, 4.5)
    large = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    side = (width + height) / 2
    for _ in range(int(generator.integers(5, 14))):
        centre = (int(generator.uniform(0, width)), int(generator.uniform(0, height)))
        radius = int(side * generator.uniform(0.02, 0.055))
        disc = large.copy()
        cv2.circle(disc, centre, radius, (1.0, 0.97, 0.86), -1, cv2.LINE_AA)
        share = float(generator.uniform(0.05, 0.22))
        large += (disc - large) * np.float32(share)
    return np.asarray(large * np.float32(0.72 + 0.35 * setting.background_value), dtype=np.float32)


def landscape(generator: np.random.Generator, *, width: int, height: int, hue: float) -> Pixels:
    """Sky over hills with trees: a picture without a face, float32 [height, width, 3] in 0..1."""
    level = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    sky = hue_colour(0.55 + 0.08 * hue, 0.45, 0.92)
    haze = hue_colour(0.08 + 0.5 * hue, 0.14, 0.97)
    picture = np.ascontiguousarray(np.broadcast_to(sky + (haze - sky) * level, (height, width, 3))).astype(
        np.float32
    )
    across = np.arange(width)
    for layer in range(4):
        base = height * (0.42 + 0.14 * layer + 0.05 * generator.standard_normal())
        ridge = np.full(width, base)
        for waves in (1, 2, 3):
            phase = waves * across / width + generator.random()
            ridge += height * generator.uniform(0.01, 0.06) * np.sin(2 * np.pi * phase)
        points = np.vstack([np.stack([across, ridge], axis=1), [[width, height], [0, height]]]).astype(
            np.int32
        )
        green = hue_colour(
            0.22 + 0.14 * generator.random() + 0.1 * (hue - 0.5), 0.25 + 0.12 * layer, 0.72 - 0.12 * layer
        )
        cv2.fillPoly(picture, [points], green.tolist(), lineType=cv2.LINE_AA)
        for _ in range(int(generator.integers(4, 12))):
            column = int(generator.integers(width))
            radius = int(height * generator.uniform(0.015, 0.02 + 0.018 * (layer + 1)))
            crown = (column, int(ridge[column]) - radius)
            shade = green * np.float32(generator.uniform(0.55, 0.95))
            cv2.line(
                picture, crown, (column, int(ridge[column]) + radius), (0.30, 0.22, 0.16), max(1, radius // 4)
            )
            cv2.circle(picture, crown, radius, shade.tolist(), -1, cv2.LINE_AA)
    return picture


def still_life(generator: np.random.Generator, *, width: int, height: int, hue: float) -> Pixels:
    """Boxes and balls on a table: another picture without a face, float32 [height, width, 3] in 0..1."""
    picture = np.empty((height, width, 3), dtype=np.float32)
    picture[:] = hue_colour(hue, 0.25, 0.85)
    table = int(height * generator.uniform(0.55, 0.7))
    picture[table:] = hue_colour(0.08, 0.45, 0.55)
    for _ in range(6):
        colour = hue_colour(generator.random(), 0.6, generator.uniform(0.4, 0.9))
        x, size = int(generator.uniform(0.05, 0.9) * width), int(generator.uniform(0.08, 0.2) * width)
        if generator.random() < 0.5:
            cv2.rectangle(
                picture, (x, table - size), (x + size, table + size // 4), colour.tolist(), -1, cv2.LINE_AA
            )
        else:
            for ring in range(12, 0, -1):
                shift = (12 - ring) * size // 40
                lit = np.minimum(colour * np.float32(0.6 + 0.05 * (12 - ring)), 1)
                centre = (x - shift, table - size // 3 - shift)
                cv2.circle(picture, centre, max(1, ring * size // 24), lit.tolist(), -1, cv2.LINE_AA)
    return picture


def with_grain(picture: Pixels, generator: np.random.Generator, *, strength: float) -> Pixels:
    """The picture with the fine noise of a camera sensor; `strength` is its standard deviation in 0..1."""
    noise = generator.standard_normal(picture.shape[:2], dtype=np.float32) * np.float32(strength)
    return np.asarray(picture + noise[..., None], dtype=np.float32)
