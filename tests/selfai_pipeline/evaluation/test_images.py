"""Small images of faces and maps."""

import base64

import cv2
import numpy as np
import pytest

from selfai_pipeline.errors import AlteredVersion
from selfai_pipeline.evaluation.images import (
    data_address,
    heat_over,
    heat_scale,
    jpeg,
    load_crop,
    strongest_place,
)
from selfai_pipeline.store import Store


def test_a_crop_keeps_the_order_of_its_colours(store: Store) -> None:
    red = np.zeros((8, 8, 3), np.uint8)
    red[:, :, 0] = 255
    _, content = cv2.imencode(".png", red[:, :, ::-1])

    assert np.array_equal(load_crop(store.crops.put(bytes(content)), store.crops), red)
    shown = cv2.imdecode(np.frombuffer(jpeg(red, side=16), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert shown.shape == (16, 16, 3)
    assert shown[8, 8, 0] > 240
    assert shown[8, 8, 2] < 15


def test_a_crop_that_is_no_picture_is_named(store: Store) -> None:
    """By its whole hash: a removal takes out of logs what it knows as a whole."""
    sha256 = store.crops.put(b"not a picture")

    with pytest.raises(AlteredVersion, match=sha256):
        load_crop(sha256, store.crops)


def test_heat_leaves_the_face_as_it_is_where_nothing_changes() -> None:
    face = np.full((10, 10, 3), 90, np.uint8)
    heat = np.zeros((10, 10))
    heat[:, 5:] = 2.0

    over = heat_over(face, heat, largest=2.0)

    assert over[5, 0] == pytest.approx([90, 90, 90])
    assert over[5, 9].mean() > 120
    assert heat_over(face, np.zeros((10, 10)), largest=0.0) == pytest.approx(90.0)


def test_the_scale_runs_from_grey_to_the_brightest_colour() -> None:
    colours = heat_scale()

    assert colours[0] == "#808080"
    assert len(set(colours)) == len(colours)


@pytest.mark.parametrize(
    ("row", "column", "words"), [(0, 0, "upper left"), (14, 15, "centre"), (29, 29, "lower right")]
)
def test_the_strongest_place_in_words(row: int, column: int, words: str) -> None:
    heat = np.zeros((30, 30))
    heat[row, column] = 1.0

    assert strongest_place(heat) == words


def test_bytes_travel_inside_an_address() -> None:
    kind, content = data_address(b"abc", "image/png").split(";base64,")

    assert (kind, base64.b64decode(content)) == ("data:image/png", b"abc")
