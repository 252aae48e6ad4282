"""A sheet of aligned crops with their landmarks: one look tells whether alignment works."""

from pathlib import Path

import cv2
import numpy as np

from selfai_pipeline.faces.alignment import Points, fit, placed
from selfai_pipeline.faces.detector import Pixels
from selfai_pipeline.pictures.contact_sheet import Tile, compose, write_sheet
from selfai_pipeline.pictures.decoding import decode_rgb
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef

_COLOURS = [(255, 60, 60), (60, 120, 255), (60, 220, 60), (255, 200, 0), (230, 60, 230)]
_MAX_PIXELS = 1024 * 1024
"""Of the largest crop that the settings allow."""

_SHIFT = 4
"""Fractional bits of the coordinates that OpenCV draws at."""


def write_contact_sheet(faces: TableRef, *, store: Store, path: Path, most: int = 60) -> int:
    """Write a sheet (.jpg or .png) of the first `most` crops of `aligned_faces`, the worst residuals first.

    Under each crop stand its residual in crop pixels and the share of border. Returns the number of crops
    shown.
    """
    columns = ["image_id", "face", "crop_sha256", "landmarks", "residual_px", "border_fraction"]
    rows = [row for row in store.tables.read(faces, columns).to_pylist() if row["crop_sha256"]]
    rows.sort(key=lambda row: (-row["residual_px"], row["image_id"], row["face"]))
    target = np.array(store.tables.facts(faces)["template"])
    tiles = []
    for row in rows[:most]:
        content = store.crops.get(row["crop_sha256"])
        pixels = decode_rgb(content, max_pixels=_MAX_PIXELS)
        landmarks = np.array(row["landmarks"]).reshape(5, 2)
        drawn = _with_points(pixels, placed(landmarks, fit(landmarks, target)))
        tiles.append(Tile(drawn, f"{row['residual_px']:.1f} px, border {row['border_fraction']:.0%}"))
    write_sheet(compose(tiles, side=160), path)
    return len(tiles)


def _with_points(pixels: Pixels, points: Points) -> Pixels:
    drawn = pixels.copy()
    radius = max(1, pixels.shape[0] // 100)
    for (x, y), colour in zip(points - 0.5, _COLOURS, strict=True):
        centre = (round(x * 2**_SHIFT), round(y * 2**_SHIFT))
        cv2.circle(drawn, centre, radius << _SHIFT, colour, -1, cv2.LINE_AA, _SHIFT)
    return drawn
