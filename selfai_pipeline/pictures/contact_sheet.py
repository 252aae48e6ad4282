"""Sheets of small pictures: files that a person looks at, under `previews/`."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from selfai_pipeline.errors import AlteredVersion, MissingVersion
from selfai_pipeline.pictures.decoding import PictureError, decode_shrunk
from selfai_pipeline.pictures.measures import Pixels, shrink
from selfai_pipeline.storage import Storage
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef

_BACKGROUND = 245
_TEXT_HEIGHT = 16
_GAP = 6
_SIDE = 112
_FORMATS = (".jpg", ".png")
_MOST_PIXELS = 24_000_000
"""Of a crawled picture on a sheet, as many as cameras make; nothing has been pruned there yet."""


@dataclass(frozen=True)
class Tile:
    """One picture of a sheet, uint8 [height, width, 3] RGB, and the line under it."""

    pixels: Pixels
    text: str


def compose(tiles: list[Tile], *, side: int, columns: int = 10) -> Pixels:
    """Lay `tiles`, each shrunk to `side`, out in rows; uint8 RGB, one empty cell where there is no tile."""
    columns = max(1, min(columns, len(tiles)))
    rows = max(1, -(-len(tiles) // columns))
    cell_width, cell_height = side + _GAP, side + _TEXT_HEIGHT + _GAP
    sheet = np.full((rows * cell_height + _GAP, columns * cell_width + _GAP, 3), _BACKGROUND, dtype=np.uint8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        top, left = _GAP + row * cell_height, _GAP + column * cell_width
        small = shrink(tile.pixels, side=side)
        height, width = small.shape[:2]
        down, right = top + (side - height) // 2, left + (side - width) // 2
        sheet[down : down + height, right : right + width] = small
        origin = (left, top + side + _TEXT_HEIGHT - 4)
        cv2.putText(sheet, tile.text, origin, cv2.FONT_HERSHEY_SIMPLEX, 0.35, (40, 40, 40), 1, cv2.LINE_AA)
    return sheet


def write_sheet(sheet: Pixels, path: Path) -> None:
    """Write an RGB sheet in the format of the file's suffix (.jpg or .png), in one move."""
    if path.suffix not in _FORMATS:
        raise ValueError(f"{path}: a sheet's name ends in {' or '.join(_FORMATS)}")
    _, content = cv2.imencode(path.suffix, cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    Storage(path.parent).write(path.name, content.tobytes())


def write_thumbnails(pruned: TableRef, *, store: Store, path: Path, most: int = 60) -> int:
    """Write a sheet of a pruned day: what was dropped, with the reason, then what was kept.

    Either gets half of the places, and those that the other leaves. Pictures that cannot be decoded are
    left out.

    Returns:
        The number of pictures shown.
    """
    columns = ["image_id", "kept", "reason", "orientation", "width", "height"]
    rows = [row for row in store.tables.read(pruned, columns).to_pylist() if row["width"]]
    dropped = [row for row in rows if not row["kept"]]
    kept = [row for row in rows if row["kept"]]
    dropped = dropped[: max(most // 2, most - len(kept))]
    dropped.sort(key=lambda row: str(row["reason"]))
    tiles = []
    for row in dropped + kept[: most - len(dropped)]:
        content = store.pictures.get(row["image_id"])
        most = row["width"] * row["height"]
        shrunk = decode_shrunk(content, orientation=row["orientation"], max_pixels=most, side=_SIDE)
        tiles.append(Tile(shrink(shrunk.pixels, side=_SIDE), row["reason"] or "kept"))
    write_sheet(compose(tiles, side=_SIDE), path)
    return len(tiles)


def write_crawl_thumbnails(crawl: TableRef, *, store: Store, path: Path, most: int = 60) -> tuple[int, int]:
    """Write a sheet of pictures that a day's crawl stored, taken evenly from its rows, each with its source.

    A picture that cannot be decoded, is lost or has more than 24 megapixels is left out.

    Returns:
        The number of pictures shown, and of those left out.
    """
    columns = ["image_id", "status", "orientation", "source"]
    rows = [row for row in store.tables.read(crawl, columns).to_pylist() if row["status"] == "stored"]
    chosen = [rows[place * len(rows) // most] for place in range(most)] if len(rows) > most else rows
    tiles = []
    for row in chosen:
        try:
            content = store.pictures.get(row["image_id"])
            shrunk = decode_shrunk(
                content, orientation=row["orientation"] or 1, max_pixels=_MOST_PIXELS, side=_SIDE
            )
        except (PictureError, MissingVersion, AlteredVersion):
            continue
        # Shrunk at once: sixty pictures in full size would need gigabytes.
        tiles.append(Tile(shrink(shrunk.pixels, side=_SIDE), row["source"]))
    write_sheet(compose(tiles, side=_SIDE), path)
    return len(tiles), len(chosen) - len(tiles)
