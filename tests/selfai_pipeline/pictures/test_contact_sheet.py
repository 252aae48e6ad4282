"""Sheets are files that can be opened and show as many pictures as they say."""

import hashlib
import io
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from selfai_pipeline.pictures.contact_sheet import (
    Tile,
    compose,
    write_crawl_thumbnails,
    write_sheet,
    write_thumbnails,
)
from selfai_pipeline.schemas import RAW_CRAWL
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


def crawled_day(store: Store, contents: list[bytes], *, refused: int = 0) -> TableRef:
    rows = []
    for number, content in enumerate([*contents, *[b""] * refused]):
        stored = number < len(contents)
        row = dict.fromkeys(RAW_CRAWL.names)
        row |= {"url": f"u{number}", "source": "s", "attributes": "{}", "fetched_at": datetime.now(UTC)}
        row |= {"status": "stored" if stored else "refused", "reason": None if stored else "robots"}
        row |= {"image_id": store.pictures.put(content) if stored else None, "orientation": 1}
        rows.append(row)
    return store.tables.write(rows, asset="raw_crawl", partition="2026-01-02")


def png(width: int, height: int, value: int = 0) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (width, height), (value, 0, 0)).save(sink, "png")
    return sink.getvalue()


def test_thumbnails_of_a_crawl_are_taken_evenly_and_what_cannot_be_decoded_is_left_out(
    tmp_path: Path,
) -> None:
    store = Store.open(tmp_path)
    path = tmp_path / "previews" / "day.jpg"
    many = crawled_day(store, [png(30, 20, number) for number in range(25)], refused=3)
    assert write_crawl_thumbnails(many, store=store, path=path, most=10) == (10, 0)
    lost = png(9, 9)
    bad = crawled_day(store, [png(30, 20), png(300, 200)[:100], b"no picture", png(5000, 5000), lost])
    store.pictures.delete(hashlib.sha256(lost).hexdigest())
    assert write_crawl_thumbnails(bad, store=store, path=path) == (1, 4)
    assert write_crawl_thumbnails(crawled_day(store, [], refused=1), store=store, path=path) == (0, 0)
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
