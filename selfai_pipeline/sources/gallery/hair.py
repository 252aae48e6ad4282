"""Hair behind and in front of the head, with strands that follow its flow."""

import numpy as np

from selfai_pipeline.sources.gallery.attributes import Portrait
from selfai_pipeline.sources.gallery.canvas import Canvas, Pixels, Points, mirrored, mix, rgb, spline

HAIR_COLOURS = (
    rgb(30, 25, 26),
    rgb(52, 37, 30),
    rgb(84, 58, 42),
    rgb(122, 84, 58),
    rgb(134, 74, 48),
    rgb(176, 138, 92),
    rgb(208, 180, 134),
)
GREY = rgb(168, 166, 164)


def hair_colour(portrait: Portrait) -> Pixels:
    """From black to blond, now and then greying."""
    setting = portrait.setting
    place = setting.hair_colour * (len(HAIR_COLOURS) - 1)
    first = min(int(place), len(HAIR_COLOURS) - 2)
    colour = mix(HAIR_COLOURS[first], HAIR_COLOURS[first + 1], place - first)
    return mix(colour, GREY, 0.8 * max(0.0, (setting.hair_grey - 0.85) / 0.15))


def silhouette(portrait: Portrait, half_width: float) -> Points:
    """The outline of all the hair: its volume pushes it away from the skull, its length pulls it down."""
    volume = 0.04 + 0.42 * portrait.look.hair_volume
    length = -0.05 + 1.65 * portrait.setting.hair_length
    side = half_width + 0.02
    knots = [
        [0.0, -1.30 - 0.80 * volume],
        [0.45 * side, -1.22 - 0.82 * volume],
        [0.86 * side + 0.5 * volume, -0.92 - 0.55 * volume],
        [side + 0.82 * volume, -0.45],
        [side + 0.95 * volume, min(-0.05, length - 0.12)],
    ]
    if length > 0.15:
        knots.append([side + 1.0 * volume, 0.55 * length])
        knots.append([side + 0.85 * volume - 0.06 * length, length])
        knots.append([0.62 * side, length + 0.06])
    else:
        knots.append([side - 0.10, length + 0.05])
    return spline(mirrored(knots), closed=True)


def draw_back_hair(
    canvas: Canvas, portrait: Portrait, generator: np.random.Generator, half_width: float, *, colour: Pixels
) -> None:
    """Everything that hangs behind face and neck."""
    outline = silhouette(portrait, half_width)
    region = canvas.region(outline, softness=0.018)
    canvas.paint(region, colour * np.float32(0.72))
    volume = 0.04 + 0.42 * portrait.look.hair_volume
    length = -0.05 + 1.65 * portrait.setting.hair_length
    count = 45 if length > 0.15 else 20
    side = generator.choice([-1.0, 1.0], count)
    x = half_width + volume * generator.uniform(0.55, 1.0, count) - 0.02
    sway = generator.normal(0, 0.025, count)
    end = length + generator.uniform(-0.12, 0.05, count)
    across = np.stack([0.75 * x, x, x + 0.04 * volume + sway, x - 0.1 + 2 * sway], axis=1)
    down = np.stack(
        [np.full(count, -1.0 - 0.4 * volume), np.full(count, -0.4), np.full(count, 0.45 * length), end], 1
    )
    paths = spline(np.stack([side[:, None] * across, down], axis=2), closed=False)
    canvas.streak(paths, generator.uniform(0.6, 1.7, count), width=0.014, opacity=0.5, clip=region)


def draw_front_hair(
    canvas: Canvas, portrait: Portrait, generator: np.random.Generator, half_width: float, *, colour: Pixels
) -> None:
    """The hair on top of the head down to the hairline, parted, with a fringe or without."""
    volume = 0.04 + 0.42 * portrait.look.hair_volume
    setting = portrait.setting
    side = half_width + 0.02
    parting = 0.62 * (setting.parting - 0.5)
    fringe = max(0.0, setting.fringe - 0.55) / 0.45
    brow_line = -0.82 + 0.34 * fringe
    temple = 0.10 + 0.12 * setting.hair_length
    outer = [
        [-side - 0.55 * volume, temple - 0.05],
        [-side - 0.80 * volume, -0.45],
        [-0.86 * side - 0.48 * volume, -0.92 - 0.52 * volume],
        [-0.45 * side, -1.22 - 0.80 * volume],
        [0.0, -1.30 - 0.79 * volume],
        [0.45 * side, -1.22 - 0.80 * volume],
        [0.86 * side + 0.48 * volume, -0.92 - 0.52 * volume],
        [side + 0.80 * volume, -0.45],
        [side + 0.55 * volume, temple - 0.05],
    ]
    hairline = [
        [side - 0.015, temple + 0.06],
        [side - 0.075, -0.16],
        [side - 0.135, -0.50],
        [0.55 * side, brow_line - 0.02 + 0.10 * (1 - fringe)],
        [parting + 0.14, brow_line - 0.16 * (1 - fringe)],
        [parting, brow_line - 0.24 * (1 - fringe)],
        [parting - 0.14, brow_line - 0.16 * (1 - fringe)],
        [-0.55 * side, brow_line - 0.02 + 0.10 * (1 - fringe)],
        [-side + 0.135, -0.50],
        [-side + 0.075, -0.16],
        [-side + 0.015, temple + 0.06],
    ]
    inner = spline(hairline, closed=False)
    shadow = canvas.region(
        np.vstack([spline(outer, closed=False), inner + np.array([0, 0.05])]), softness=0.04
    )
    canvas.shade(shadow, 0.72)
    region = canvas.region(np.vstack([spline(outer, closed=False), inner]), softness=0.016)
    canvas.paint(region, colour)
    root = np.array([parting, -1.24 - 0.74 * volume])
    count = 156
    goal = inner[generator.integers(len(inner), size=count)]
    goal = goal * np.stack([1 + generator.uniform(0, 0.45 * volume + 0.08, count), np.ones(count)], axis=1)
    goal[:, 1] += generator.uniform(-0.22, 0.02, count)
    start = root + np.abs(generator.normal(0, 0.04, (count, 2))) * [0, 1]
    start[:, 0] += generator.normal(0, 0.10, count) + 0.25 * (goal[:, 0] - parting)
    bulge = np.stack([0.55 * (start[:, 0] + goal[:, 0]), 0.6 * start[:, 1] + 0.4 * goal[:, 1] - 0.06], axis=1)
    paths = spline(np.stack([start, bulge, goal], axis=1), closed=False)
    canvas.streak(paths, generator.uniform(0.5, 1.35, count), width=0.012, opacity=0.5, clip=region)
    lamp = 1 if setting.light_side > 0.5 else -1
    sheen = spline(
        [[lamp * 0.15, -1.12 - 0.5 * volume], [lamp * 0.5, -1.0 - 0.4 * volume], [lamp * 0.78, -0.72]],
        closed=False,
    )
    canvas.light(
        canvas.line(sheen, width=0.10, softness=0.07, clip=region),
        colour * np.float32(0.5) + np.float32(0.05),
    )
