"""Drawing with soft edges: shapes given in the units of a face, placed anywhere in a picture."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]
Pixels = NDArray[np.float32]

SUBPIXEL_BITS = 4
NEUTRAL = 128
"""Level of a map of tones that stands for a factor of 1."""


def spline(points: ArrayLike, *, closed: bool, steps: int = 8) -> Points:
    """A Catmull-Rom curve through `points` [..., n, 2], with `steps` pieces between two of them.

    Further axes in front hold as many curves.
    """
    knots = np.asarray(points, dtype=np.float64)
    first, last = knots[..., :1, :], knots[..., -1:, :]
    if closed:
        knots = np.concatenate([last, knots, knots[..., :2, :]], axis=-2)
    else:
        knots = np.concatenate(
            [2 * first - knots[..., 1:2, :], knots, 2 * last - knots[..., -2:-1, :]], axis=-2
        )
    before, start, end, after = (knots[..., i : knots.shape[-2] - 3 + i, None, :] for i in range(4))
    t = (np.arange(steps) / steps)[:, None]
    curve = 0.5 * (
        2 * start
        + (end - before) * t
        + (2 * before - 5 * start + 4 * end - after) * t**2
        + (3 * start - before - 3 * end + after) * t**3
    )
    flat = curve.reshape(*curve.shape[:-3], -1, 2)
    return flat if closed else np.concatenate([flat, last], axis=-2)


def ellipse(x: float, y: float, width: float, height: float, *, steps: int = 40) -> Points:
    """Outline of an ellipse around (x, y) with the given half axes."""
    angle = np.linspace(0, 2 * np.pi, steps, endpoint=False)
    return np.stack([x + width * np.cos(angle), y + height * np.sin(angle)], axis=1)


def mirrored(points: ArrayLike) -> Points:
    """`points` and, in reverse order, their mirror images at x = 0: an outline from its right half."""
    half = np.asarray(points, dtype=np.float64)
    other = half[::-1] * [-1, 1]
    return np.vstack([half, other[np.abs(other[:, 0]) > 1e-9]])


def rgb(red: float, green: float, blue: float) -> Pixels:
    """A colour from 0..255 as float32 in 0..1."""
    return np.array([red, green, blue], dtype=np.float32) / np.float32(255)


def mix(first: Pixels, second: Pixels, share: float) -> Pixels:
    """`first` at a share of 0, `second` at 1."""
    return (first * (1 - share) + second * share).astype(np.float32)


@dataclass(frozen=True)
class Placement:
    """A similarity from face units to pixels: eyes on y = 0 about x = 0, chin near y = 1.3, y downward."""

    x: float
    y: float
    scale: float
    """Pixels a unit."""
    roll: float
    """Radians; a positive roll turns the head clockwise as seen."""

    @property
    def matrix(self) -> Points:
        cosine, sine = self.scale * np.cos(self.roll), self.scale * np.sin(self.roll)
        return np.array([[cosine, -sine, self.x], [sine, cosine, self.y]])

    def __call__(self, points: ArrayLike) -> Points:
        matrix = self.matrix
        return np.asarray(points, dtype=np.float64) @ matrix[:, :2].T + matrix[:, 2]


@dataclass(frozen=True)
class Region:
    """A mask [h, w] in 0..1 and the part of the picture that it covers."""

    rows: slice
    columns: slice
    mask: Pixels


class Canvas:
    """A float32 picture [h, w, 3] in 0..1 that is painted on in face units.

    Args:
        pixels: the background; painted over in place.
        placement: where the face lies.
    """

    def __init__(self, pixels: Pixels, placement: Placement) -> None:
        self.pixels = pixels
        self.place = placement

    def region(
        self, *outlines: ArrayLike, softness: float = 0.0, clip: Region | None = None
    ) -> Region | None:
        """The mask of filled outlines; None where it lies outside the picture.

        Args:
            outlines: each [n, 2] in face units.
            softness: sigma of the edge's blur, face units.
            clip: nothing outside of this region is covered.
        """
        return self._masked([self.place(outline) for outline in outlines], softness, clip, thickness=None)

    def line(
        self, *paths: ArrayLike, width: float, softness: float = 0.0, clip: Region | None = None
    ) -> Region | None:
        """The mask of open paths of the given width; as `region` otherwise."""
        thickness = max(1, round(width * self.place.scale))
        return self._masked([self.place(path) for path in paths], softness, clip, thickness=thickness)

    def _masked(
        self, shapes: list[Points], softness: float, clip: Region | None, *, thickness: int | None
    ) -> Region | None:
        if not shapes:
            return None
        sigma = softness * self.place.scale
        height, width = self.pixels.shape[:2]
        margin = 3 * sigma + (thickness or 0) + 2
        lowest = np.min([shape.min(axis=0) for shape in shapes], axis=0)
        highest = np.max([shape.max(axis=0) for shape in shapes], axis=0)
        left, top = (max(0, math.floor(value - margin)) for value in lowest)
        right = min(width, math.ceil(highest[0] + margin) + 1)
        bottom = min(height, math.ceil(highest[1] + margin) + 1)
        if left >= right or top >= bottom:
            return None
        mask = np.zeros((bottom - top, right - left), dtype=np.uint8)
        for shape in shapes:
            fixed = np.round((shape - [left, top]) * (1 << SUBPIXEL_BITS)).astype(np.int32)
            if thickness is None:
                cv2.fillPoly(mask, [fixed], 255, lineType=cv2.LINE_AA, shift=SUBPIXEL_BITS)
            else:
                cv2.polylines(mask, [fixed], False, 255, thickness, cv2.LINE_AA, SUBPIXEL_BITS)
        smooth = mask.astype(np.float32) / np.float32(255)
        if sigma > 0.3:
            smooth = blurred(smooth, sigma)
        found = Region(slice(top, bottom), slice(left, right), smooth)
        return found if clip is None else intersection(found, clip)

    def paint(self, region: Region | None, colour: Pixels, *, opacity: float = 1.0) -> None:
        """Lay a colour [3], or one for each pixel of the region's mask [h, w, 3], over the region."""
        if region is None:
            return
        part = self.pixels[region.rows, region.columns]
        part += (colour - part) * (region.mask * np.float32(opacity))[..., None]

    def shade(self, region: Region | None, factor: float | Pixels) -> None:
        """Multiply what is there by `factor` (one, or a colour of three) where the region covers it."""
        if region is None:
            return
        part = self.pixels[region.rows, region.columns]
        part *= 1 + (np.asarray(factor, dtype=np.float32) - 1) * region.mask[..., None]

    def streak(
        self, paths: Points, tones: ArrayLike, *, width: float, opacity: float, clip: Region | None
    ) -> None:
        """Lighten or darken fine lines within `clip`, all in one pass.

        Args:
            paths: open paths [n, points, 2] in face units; later ones lie over earlier ones.
            tones: a factor for each path, from 0 up to 2.
            width: of the lines, face units.
            opacity: 0 leaves the picture as it is, 1 multiplies the lines by their tones.
            clip: where the lines may show.
        """
        if clip is None:
            return
        corner = np.array([clip.columns.start, clip.rows.start])
        levels = np.full(clip.mask.shape, NEUTRAL, dtype=np.uint8)
        thickness = max(1, round(width * self.place.scale))
        for path, tone in zip(paths, np.asarray(tones, dtype=np.float64).tolist(), strict=True):
            fixed = np.round((self.place(path) - corner) * (1 << SUBPIXEL_BITS)).astype(np.int32)
            level = min(255, round(NEUTRAL * tone))
            cv2.polylines(levels, [fixed], False, level, thickness, cv2.LINE_AA, SUBPIXEL_BITS)
        factor = levels.astype(np.float32) / np.float32(NEUTRAL) - np.float32(1)
        self.pixels[clip.rows, clip.columns] *= (1 + np.float32(opacity) * factor * clip.mask)[..., None]

    def light(self, region: Region | None, colour: Pixels) -> None:
        """Add light of a colour [3] where the region covers the picture."""
        if region is None:
            return
        part = self.pixels[region.rows, region.columns]
        part += colour * region.mask[..., None]


def blurred(mask: Pixels, sigma: float) -> Pixels:
    """Gaussian blur; a wide one is done at a lower resolution, where the eye cannot tell."""
    shrink = int(sigma // 4)
    if shrink < 2 or min(mask.shape[:2]) < 4 * shrink:
        return np.asarray(cv2.GaussianBlur(mask, (0, 0), sigma), dtype=np.float32)
    height, width = mask.shape[:2]
    small = cv2.resize(mask, (-(-width // shrink), -(-height // shrink)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / shrink)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def intersection(first: Region, second: Region) -> Region | None:
    """The product of two masks where both lie."""
    top, bottom = max(first.rows.start, second.rows.start), min(first.rows.stop, second.rows.stop)
    left, right = max(first.columns.start, second.columns.start), min(first.columns.stop, second.columns.stop)
    if top >= bottom or left >= right:
        return None

    def part(region: Region) -> Pixels:
        rows = slice(top - region.rows.start, bottom - region.rows.start)
        columns = slice(left - region.columns.start, right - region.columns.start)
        return region.mask[rows, columns]

    return Region(slice(top, bottom), slice(left, right), part(first) * part(second))
