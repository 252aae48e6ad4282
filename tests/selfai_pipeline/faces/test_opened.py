"""A picture is read at the size that is needed of it; coordinates are of the whole, whatever that was."""

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from selfai_pipeline.faces.detector import Detection
from selfai_pipeline.faces.opened import Opened, open_picture
from selfai_pipeline.faces.settings import FaceSettings
from selfai_pipeline.store import Store

Pixels = npt.NDArray[np.uint8]

SCENE = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)


def scene(height: int, width: int) -> Pixels:
    return np.asarray(cv2.resize(SCENE, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def opened(folder: Path, pixels: Pixels, *, orientation: int = 1, **settings: Any) -> Opened:
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "JPEG", quality=97, subsampling=0)
    store = Store.open(folder)
    row = {"image_id": store.pictures.put(sink.getvalue()), "orientation": orientation}
    return open_picture(row, store=store, settings=FaceSettings(**settings))


def test_it_is_read_at_the_size_of_the_first_look(tmp_path: Path) -> None:
    one = opened(tmp_path, scene(1500, 2003), detection_side=320)
    assert one.size == (1500, 2003)
    assert one.pixels is not None
    assert one.pixels.shape == (375, 501, 3)


@pytest.mark.parametrize(
    ("density", "width"), [(0.0, 501), (0.25, 501), (0.26, 1002), (0.6, 2003), (3, 2003)]
)
def test_it_is_read_again_where_more_pixels_are_needed(tmp_path: Path, density: float, width: int) -> None:
    one = opened(tmp_path, scene(1500, 2003))
    sharper = one.with_density(density)
    assert sharper.pixels is not None
    assert sharper.pixels.shape[1] == width
    assert one.pixels_at(density) == pytest.approx(sharper.pixels.size / 3, rel=0.01)
    assert sharper.with_density(0) is sharper


def test_what_cannot_be_decoded_has_a_reason_and_no_size(tmp_path: Path) -> None:
    one = opened(tmp_path, scene(150, 200), max_pixels=29_999)
    assert (one.reason, one.pixels, one.size) == ("too_many_pixels", None, (0, 0))
    assert one.with_density(1) is one
    assert one.pixels_at(1) == 0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_places_and_crops_are_the_same_at_every_size(tmp_path: Path, orientation: int) -> None:
    one = opened(tmp_path, scene(1203, 1601), orientation=orientation)
    whole = one.with_density(1)
    assert whole.shrunk is not None
    assert whole.shrunk.divisor == 1
    assert one.shrunk is not None
    assert one.shrunk.divisor == 4
    place = np.array([[100.0, 60.0]])
    face = Detection(box=np.array([0.0, 0, 100, 60]), landmarks=np.repeat(place, 5, axis=0), score=1)
    start = np.array([one.shrunk.left, one.shrunk.top])
    assert one.in_whole(face).landmarks[0] == pytest.approx(4 * place[0] + start)
    assert one.in_whole(face).box[2:] == pytest.approx(4 * place[0] + start)
    matrix = np.array([[0.2, 0.05, -40], [-0.05, 0.2, -20]])
    crops = [each.crop(matrix, crop_size=128).astype(int) for each in (one, whole)]
    assert np.abs(crops[0] - crops[1]).mean() < 1
