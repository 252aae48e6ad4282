"""From attributes to pixels: a rendered portrait with its landmarks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selfai_pipeline.sources.gallery.attributes import Portrait
from selfai_pipeline.sources.gallery.canvas import (
    Canvas,
    Pixels,
    Placement,
    Points,
    ellipse,
    mirrored,
    mix,
    rgb,
    spline,
)
from selfai_pipeline.sources.gallery.features import (
    Anatomy,
    draw_brows,
    draw_ears,
    draw_eyes,
    draw_mouth,
    draw_nose,
)
from selfai_pipeline.sources.gallery.hair import draw_back_hair, draw_front_hair, hair_colour
from selfai_pipeline.sources.gallery.relief import head_heights, lambert, onto_canvas
from selfai_pipeline.sources.gallery.scenery import background, hue_colour, with_grain

SKIN_TONES = (
    rgb(246, 214, 190),
    rgb(232, 188, 154),
    rgb(210, 158, 118),
    rgb(172, 118, 82),
    rgb(130, 86, 58),
    rgb(94, 62, 44),
)


@dataclass(frozen=True)
class Rendered:
    """A portrait as drawn.

    `pixels` is uint8 RGB [height, width, 3]; `landmarks` [5, 2] holds x, y in pixels of the eye at the
    left of the picture, the other eye, the tip of the nose and the two corners of the mouth.
    """

    pixels: NDArray[np.uint8]
    landmarks: Points


def skin_colour(portrait: Portrait) -> Pixels:
    """From light to deep, a little warmer or cooler."""
    place = portrait.setting.skin_tone * (len(SKIN_TONES) - 1)
    first = min(int(place), len(SKIN_TONES) - 2)
    tone = mix(SKIN_TONES[first], SKIN_TONES[first + 1], place - first)
    warmth = portrait.setting.skin_warmth - 0.5
    return np.asarray(tone * np.array([1 + 0.03 * warmth, 1, 1 - 0.10 * warmth]), dtype=np.float32)


def head_outline(portrait: Portrait) -> Points:
    """Skull, cheeks and chin."""
    wide = half_width(portrait)
    jaw = 0.70 + 0.22 * portrait.look.face_width
    knots = [
        [0.0, -1.30],
        [0.50, -1.22],
        [0.90 * wide, -0.82],
        [wide, -0.30],
        [0.985 * wide, 0.20],
        [0.94 * wide, 0.55],
        [jaw, 0.86],
        [0.62 * jaw, 1.14],
        [0.22, 1.29],
        [0.0, 1.31],
    ]
    return spline(mirrored(knots), closed=True)


def half_width(portrait: Portrait) -> float:
    """Half the width of the head at the temples, face units."""
    return 0.80 + 0.22 * portrait.look.face_width


def render_portrait(portrait: Portrait, *, typical_side: int) -> Rendered:
    """Draw a portrait.

    Args:
        portrait: its attributes; the same ones give the same pixels.
        typical_side: sides lie between two thirds and four thirds of it, in pixels.
    """
    generator = np.random.default_rng(portrait.texture_seed)
    look, setting = portrait.look, portrait.setting
    width = round(typical_side * (2 / 3 + setting.width * 2 / 3))
    height = min(round(width * (0.92 + 0.4 * setting.aspect)), round(typical_side * 4 / 3))
    side = min(width, height)
    place = Placement(
        x=width * (0.5 + 0.12 * (setting.offset_x - 0.5)),
        y=height * (0.46 + 0.08 * (setting.offset_y - 0.5)),
        scale=side * (0.185 + 0.055 * setting.scale),
        roll=np.deg2rad(22 * (setting.roll - 0.5)),
    )
    canvas = Canvas(background(setting, generator, width=width, height=height), place)
    anatomy = Anatomy.of(portrait)
    skin, hair = skin_colour(portrait), hair_colour(portrait)
    lamp = 1 if setting.light_side > 0.5 else -1
    hardness = 1 - look.light_softness

    draw_back_hair(canvas, portrait, generator, half_width(portrait), colour=hair)
    _draw_body(canvas, portrait, skin=skin)
    draw_ears(canvas, half_width(portrait), skin=skin * np.float32(0.95), shift=anatomy.shift)

    heights = head_heights(portrait, shift=anatomy.shift, mouth_y=anatomy.mouth[1], nose_y=anatomy.nose[1])
    toward = (lamp * (0.22 + 1.0 * hardness), -0.35 - 0.5 * setting.light_height, 1.0)
    diffuse, glint = lambert(heights, light=toward, ambient=0.64 - 0.44 * hardness)
    head = canvas.region(head_outline(portrait), softness=0.010)
    if head is not None:
        warm = np.stack([diffuse**0.92, diffuse, diffuse**1.06], axis=2)
        canvas.paint(head, skin * np.float32(1.10) * onto_canvas(warm, canvas, head))
        shine = np.float32(0.05 + 0.13 * hardness) * onto_canvas(glint, canvas, head)
        canvas.pixels[head.rows, head.columns] += (shine * head.mask)[..., None]
    _draw_complexion(canvas, portrait, anatomy, generator, skin=skin)
    draw_nose(canvas, portrait, anatomy)
    draw_mouth(canvas, portrait, anatomy, skin=skin)
    draw_eyes(canvas, portrait, anatomy, skin=skin, lash=mix(hair, rgb(20, 14, 12), 0.8))
    draw_brows(canvas, portrait, anatomy, generator, colour=mix(hair, rgb(40, 28, 22), 0.5))
    draw_front_hair(canvas, portrait, generator, half_width(portrait), colour=hair)
    _light_scene(canvas, portrait, lamp=lamp, hardness=hardness)

    pixels = with_grain(canvas.pixels, generator, strength=0.012)
    landmarks = place(np.vstack([anatomy.eyes, [anatomy.nose], anatomy.mouth_corners]))
    return Rendered(pixels=(np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8), landmarks=landmarks)


def _draw_body(canvas: Canvas, portrait: Portrait, *, skin: Pixels) -> None:
    """Neck, shoulders and clothes."""
    setting = portrait.setting
    neck = spline(mirrored([[0.50, 0.7], [0.46, 1.25], [0.52, 1.62], [0.95, 1.85], [0.9, 2.6]]), closed=True)
    throat = canvas.region(neck, softness=0.015)
    canvas.paint(throat, skin * np.float32(0.88))
    canvas.shade(canvas.region(ellipse(0, 1.22, 0.62, 0.34), softness=0.10, clip=throat), 0.66)
    cloth = hue_colour(
        setting.clothing_hue, 0.15 + 0.45 * setting.neckline, 0.22 + 0.6 * setting.clothing_value
    )
    dip = 1.72 + 0.45 * setting.neckline
    edge = [[0.0, dip], [0.22, dip - 0.10 * (1 - setting.neckline) - 0.16 * setting.neckline], [0.55, 1.60]]
    shoulders = [[0.9, 1.72], [1.45, 1.92], [1.78, 2.35], [1.9, 4.2], [0.0, 4.4]]
    outline = spline(mirrored([*edge, *shoulders]), closed=True)
    region = canvas.region(outline, softness=0.008)
    canvas.paint(region, cloth)
    collar = spline(
        mirrored([[0.57, 1.61], [0.22, edge[1][1] + 0.02], [0.0, dip + 0.02]][::-1]), closed=False
    )
    canvas.shade(canvas.line(collar[: len(collar) // 2 + 4], width=0.035, softness=0.01, clip=region), 0.72)
    for fold in (-1.1, -0.62, 0.62, 1.1):
        path = spline([[fold, 1.85], [fold * 1.05, 2.3], [fold * 0.95, 3.2]], closed=False)
        canvas.shade(canvas.line(path, width=0.06, softness=0.05, clip=region), 0.90)


def _draw_complexion(
    canvas: Canvas, portrait: Portrait, anatomy: Anatomy, generator: np.random.Generator, *, skin: Pixels
) -> None:
    """Warm cheeks, and where the skin is not smooth: blotches and freckles."""
    rough = 1 - portrait.look.skin_smoothness
    face = canvas.region(head_outline(portrait), softness=0.03)
    for side in (-1, 1):
        cheek = canvas.region(ellipse(side * 0.52 + anatomy.shift, 0.42, 0.20, 0.16), softness=0.09)
        canvas.shade(cheek, np.array([1.04, 0.90, 0.90], dtype=np.float32))
    for strength in (0.08, 0.16, 0.24):
        blotches = []
        for _ in range(round(10 * rough)):
            size = generator.uniform(0.03, 0.09)
            blotches.append(
                ellipse(generator.uniform(-0.8, 0.8), generator.uniform(-0.7, 1.1), size, size, steps=12)
            )
        patch = canvas.region(*blotches, softness=0.035, clip=face)
        canvas.shade(patch, 1 - rough * strength * np.array([0.45, 1.0, 1.0], dtype=np.float32))
    for strength in (0.18, 0.27, 0.36):
        freckles = []
        for _ in range(round(30 * rough)):
            size = generator.uniform(0.010, 0.022)
            freckles.append(
                ellipse(generator.normal(0, 0.42), generator.normal(0.30, 0.30), size, size, steps=8)
            )
        spots = canvas.region(*freckles, softness=0.005, clip=face)
        canvas.shade(spots, 1 - rough * strength * np.array([0.7, 1.0, 1.1], dtype=np.float32))


def _light_scene(canvas: Canvas, portrait: Portrait, *, lamp: int, hardness: float) -> None:
    """Darken the side away from the lamp, and tint everything with the lamp's colour."""
    setting = portrait.setting
    width = canvas.pixels.shape[1]
    across = (np.arange(width, dtype=np.float32) - canvas.place.x) / (1.6 * canvas.place.scale)
    fall = 1 + (0.06 + 0.22 * hardness) * lamp * np.tanh(across)
    tint = np.array([1 + 0.07 * (setting.light_warmth - 0.5), 1, 1 - 0.12 * (setting.light_warmth - 0.5)])
    exposure = 0.90 + 0.20 * setting.exposure
    canvas.pixels *= (fall[None, :, None] * tint * exposure).astype(np.float32)
