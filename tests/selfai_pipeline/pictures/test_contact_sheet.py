"""Sheets are files that can be opened and show as many pictures as they say."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from selfai_pipeline.pictures.contact_sheet import Tile, compose, write_sheet, write_thumbnails
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef


def pruned_day(store: Store, *, kept: int, dropped: int) -> TableRef:
    rows = []
    for number in range(kept + dropped):
        pixels = np.full((40, 60, 3), number, dtype=np.uint8)
        path = store.home.root / "picture.png"
        Image.fromarray(pixels).save(path)
        rows.append(
            {
                "image_id": store.pictures.put(path.read_bytes()),
                "url": "u",
                "source": "s",
                "kept": number < kept,
                "reason": None if number < kept else "blurred",
                "duplicate_of": None,
                "orientation": 1,
                "width": 60,
                "height": 40,
                "perceptual_hash": bytes(32),
                "thumbnail": bytes(4096),
                **dict.fromkeys(["brightness", "contrast", "blur", "entropy", "saturation"], 1.0),
                **dict.fromkeys(["border", "screenshot", "collage"], 0.0),
                **dict.fromkeys(["aspect", "bits_per_pixel"], 1.0),
            }
        )
    return store.tables.write(rows, asset="pruned_set", partition="2026-01-02")


@pytest.mark.parametrize(("kept", "dropped", "shown"), [(3, 2, 5), (20, 9, 12), (2, 20, 12), (0, 0, 0)])
def test_thumbnails_show_at_most_what_was_asked(tmp_path: Path, kept: int, dropped: int, shown: int) -> None:
    store = Store.open(tmp_path)
    path = tmp_path / "previews" / "day.jpg"
    assert (
        write_thumbnails(pruned_day(store, kept=kept, dropped=dropped), store=store, path=path, most=12)
        == shown
    )
    with Image.open(path) as sheet:
        assert sheet.format == "JPEG"


def test_tiles_lie_in_rows_and_are_shrunk() -> None:
    tiles = [Tile(np.zeros((300, 200, 3), dtype=np.uint8), "") for _ in range(5)]
    sheet = compose(tiles, side=50, columns=3)
    assert sheet.shape[1] < 3 * 60
    assert sheet.shape[0] > 2 * 50
    assert (sheet == 0).all(axis=2).sum() == 5 * 50 * 33


def test_a_suffix_that_is_no_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends in \.jpg or \.png"):
        write_sheet(np.zeros((4, 4, 3), dtype=np.uint8), tmp_path / "sheet.words")
