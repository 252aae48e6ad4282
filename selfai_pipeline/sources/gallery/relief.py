"""The head as a relief, so that one lamp shades nose, cheeks, lips and jaw together."""

from functools import lru_cache

import cv2
import numpy as np

from selfai_pipeline.sources.gallery.attributes import Portrait
from selfai_pipeline.sources.gallery.canvas import Canvas, Pixels, Region

CELLS_PER_UNIT = 40
LEFT, TOP, RIGHT, BOTTOM = -1.5, -1.9, 1.5, 2.1


@lru_cache(maxsize=1)
def _grid() -> tuple[Pixels, Pixels]:
    x = np.arange(LEFT, RIGHT, 1 / CELLS_PER_UNIT, dtype=np.float32)
    y = np.arange(TOP, BOTTOM, 1 / CELLS_PER_UNIT, dtype=np.float32)
    columns, rows = np.meshgrid(x, y)
    return columns, rows


def _bump(x: float, y: float, width: float, height: float) -> Pixels:
    """A Gaussian hill of height 1 over the grid."""
    columns, rows = _grid()
    across = np.exp(-0.5 * ((columns[0] - x) / width) ** 2)
    down = np.exp(-0.5 * ((rows[:, 0] - y) / height) ** 2)
    return np.outer(down, across).astype(np.float32)


def head_heights(portrait: Portrait, *, shift: float, mouth_y: float, nose_y: float) -> Pixels:
    """Height of the face toward the viewer on the grid, in face units.

    Args:
        portrait: whose smile lifts the cheeks.
        shift: sideways displacement of the features by the turn of the head.
        mouth_y: middle of the mouth; likewise `nose_y`, the tip of the nose.
    """
    columns, rows = _grid()
    smile = portrait.look.smile
    inside = 1 - (columns / 1.02) ** 2 - ((rows - 0.02) / 1.38) ** 2
    heights = 0.95 * np.sqrt(np.maximum(inside, 0.004))
    bridge = np.clip((rows + 0.15) / (nose_y + 0.15), 0, 1) * (rows < nose_y + 0.03)
    heights += 0.17 * bridge * np.exp(-0.5 * ((columns - 1.3 * shift) / 0.085) ** 2)
    heights += 0.12 * _bump(1.5 * shift, nose_y, 0.11, 0.085)
    for side in (-1, 1):
        heights += 0.05 * _bump(side * 0.15 + 1.3 * shift, nose_y + 0.05, 0.06, 0.06)
        heights -= 0.11 * _bump(side * 0.40 + shift, 0.0, 0.19, 0.12)
        heights += 0.05 * _bump(side * 0.42 + shift, -0.28, 0.24, 0.08)
        heights += (0.03 + 0.06 * smile) * _bump(side * 0.54 + shift, 0.42 - 0.05 * smile, 0.17, 0.15)
    heights += 0.055 * _bump(shift, mouth_y, 0.26, 0.10)
    heights -= 0.035 * _bump(shift, mouth_y + 0.20, 0.22, 0.05)
    heights += 0.07 * _bump(0.8 * shift, mouth_y + 0.34, 0.20, 0.11)
    return np.asarray(cv2.GaussianBlur(heights.astype(np.float32), (0, 0), 1.2), dtype=np.float32)


def lambert(heights: Pixels, *, light: tuple[float, float, float], ambient: float) -> tuple[Pixels, Pixels]:
    """Diffuse and specular light on a relief (Lambert, Blinn-Phong with exponent 18), each [rows, columns].

    Args:
        heights: the relief on the grid.
        light: direction toward the lamp (x right, y down, z to the viewer).
        ambient: light that comes from everywhere, 0..1; diffuse is 1 where the surface faces the lamp.
    """
    down, across = np.gradient(heights, 1 / CELLS_PER_UNIT)
    length = np.sqrt(across**2 + down**2 + 1)
    toward = np.array(light) / np.linalg.norm(light)
    facing = (-across * toward[0] - down * toward[1] + toward[2]) / length
    half = toward + np.array([0.0, 0.0, 1.0])
    half /= np.linalg.norm(half)
    glint = np.maximum((-across * half[0] - down * half[1] + half[2]) / length, 0) ** 18
    diffuse = ambient + (1 - ambient) * np.maximum(0.15 + 0.85 * facing, 0.05)
    return diffuse.astype(np.float32), glint.astype(np.float32)


def onto_canvas(field: Pixels, canvas: Canvas, region: Region) -> Pixels:
    """A field on the grid [rows, columns, ...] as it lies under a region; beyond the grid the nearest."""
    height, width = region.mask.shape
    to_units = np.array([[1 / CELLS_PER_UNIT, 0, LEFT], [0, 1 / CELLS_PER_UNIT, TOP], [0, 0, 1]])
    matrix = np.vstack([canvas.place.matrix, [0, 0, 1]]) @ to_units
    matrix[:2, 2] -= [region.columns.start, region.rows.start]
    warped = cv2.warpAffine(
        field, matrix[:2], (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(warped, dtype=np.float32)
