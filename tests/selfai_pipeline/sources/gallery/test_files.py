import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from selfai_pipeline.home import Home
from selfai_pipeline.sources.gallery.files import EXIF_GPS, EXIF_ORIENTATION
from selfai_pipeline.sources.gallery.plan import Item, Kind, plan_gallery
from selfai_pipeline.sources.gallery.portraits import render_portrait
from selfai_pipeline.sources.gallery.server import gallery_folder
from selfai_pipeline.sources.gallery.settings import GallerySettings


@pytest.fixture
def root(tiny_home: Home, tiny_settings: GallerySettings) -> Path:
    return gallery_folder(tiny_home, tiny_settings) / "www"


@pytest.fixture
def items(tiny_settings: GallerySettings) -> dict[Kind, Item]:
    """One item of each kind, from the second day."""
    return {item.kind: item for item in plan_gallery(tiny_settings)["2026-01-02"]}


def test_a_rotated_portrait_is_upright_once_its_orientation_is_applied(
    root: Path, items: dict[Kind, Item], tiny_settings: GallerySettings
) -> None:
    item = items[Kind.ROTATED]
    assert item.portrait is not None
    stored = Image.open(root / item.path)
    assert stored.getexif()[EXIF_ORIENTATION] == 6
    assert stored.getexif().get_ifd(EXIF_GPS)
    drawn = render_portrait(item.portrait, typical_side=tiny_settings.picture_size).pixels
    upright = np.asarray(ImageOps.exif_transpose(stored))
    assert upright.shape == drawn.shape
    assert np.abs(upright.astype(float) - drawn).mean() < 6


@pytest.mark.parametrize(
    ("kind", "form", "mode"),
    [
        (Kind.PORTRAIT, "JPEG", "RGB"),
        (Kind.GREY, "JPEG", "L"),
        (Kind.TRANSPARENT, "PNG", "RGBA"),
        (Kind.CMYK, "JPEG", "CMYK"),
    ],
)
def test_portraits_come_in_several_forms(
    root: Path, items: dict[Kind, Item], kind: Kind, form: str, mode: str
) -> None:
    picture = Image.open(root / items[kind].path)
    assert (picture.format, picture.mode) == (form, mode)


def test_a_cmyk_portrait_has_the_colours_that_were_drawn(
    root: Path, items: dict[Kind, Item], tiny_settings: GallerySettings
) -> None:
    item = items[Kind.CMYK]
    assert item.portrait is not None
    drawn = render_portrait(item.portrait, typical_side=tiny_settings.picture_size).pixels
    shown = np.asarray(Image.open(root / item.path).convert("RGB"))
    assert np.abs(shown.astype(float) - drawn).mean() < 8


def test_junk_is_spoilt_as_its_kind_says(root: Path, items: dict[Kind, Item]) -> None:
    contents = {
        kind: (root / item.path).read_bytes() for kind, item in items.items() if kind is not Kind.REDIRECT
    }
    assert contents[Kind.EMPTY] == b""
    assert contents[Kind.PAGE].startswith(b"<!doctype html>")
    assert max(Image.open(io.BytesIO(contents[Kind.TINY])).size) < 64
    with pytest.raises(OSError, match="truncated"):
        Image.open(io.BytesIO(contents[Kind.TRUNCATED])).load()
    assert Image.open(io.BytesIO(contents[Kind.SCENERY])).size > (96, 96)
    assert items[Kind.FORBIDDEN].path.startswith("private/")


def test_a_copy_has_the_same_bytes_and_a_reencoded_one_fewer_pixels(
    root: Path, tiny_settings: GallerySettings
) -> None:
    plan = plan_gallery(tiny_settings)
    by_name = {item.name: item for items in plan.values() for item in items}
    repeats = [item for item in by_name.values() if item.original is not None]
    assert {item.kind for item in repeats} == {Kind.COPY, Kind.REENCODED, Kind.REPUBLISHED}
    for item in repeats:
        assert item.original is not None
        original = root / by_name[item.original].path
        copy = root / item.path
        if item.kind is Kind.COPY:
            assert copy.read_bytes() == original.read_bytes()
        else:
            assert Image.open(copy).width < Image.open(original).width
