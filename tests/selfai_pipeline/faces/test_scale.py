"""The same face is found in the same place of a picture of 350, 1,024 and 4,000 pixels."""

import os
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from selfai_pipeline.faces.detector import Detector
from selfai_pipeline.faces.finding import Seen, over_pictures
from selfai_pipeline.faces.settings import FaceSettings
from selfai_pipeline.sources.gallery.attributes import draw_portrait_attributes
from selfai_pipeline.sources.gallery.portraits import render_portrait
from selfai_pipeline.store import Store

Pixels = npt.NDArray[np.uint8]

DATA = Path(os.environ.get("SELFAI_TEST_DATA") or Path(__file__).parents[4] / "shared" / "data")
SIDES = (350, 1024, 4000)


def sized(picture: Pixels, side: int) -> Pixels:
    scale = side / max(picture.shape)
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size, interpolation=way), dtype=np.uint8)


def itself(seen: Seen) -> Seen:
    return seen


def largest_move(picture: Pixels, *, store: Store, detector: Detector) -> float:
    """Between any two sizes, of any landmark, over the distance of the eyes."""
    places = []
    for side in SIDES:
        copy = sized(picture, side)
        _, content = cv2.imencode(".jpg", cv2.cvtColor(copy, cv2.COLOR_RGB2BGR))
        row = {"image_id": store.pictures.put(content.tobytes()), "orientation": 1}
        (seen,) = over_pictures([row], itself, store=store, detector=detector, settings=FaceSettings())
        assert seen.picture.pixels is not None
        assert max(seen.picture.pixels.shape) < 700, "it was decoded larger than its face needs"
        (face,) = seen.faces.values()
        places.append(face.landmarks / copy.shape[1::-1] * picture.shape[1::-1])
    eyes = float(np.linalg.norm(places[-1][1] - places[-1][0]))
    moves = [np.linalg.norm(one - other, axis=1).max() for one in places for other in places]
    return float(max(moves)) / eyes


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_rendered_portrait(seed: int, tmp_path: Path, detector: Detector) -> None:
    attributes = draw_portrait_attributes(np.random.default_rng([7, seed]))
    portrait = np.ascontiguousarray(render_portrait(attributes, typical_side=SIDES[-1]).pixels)
    assert largest_move(portrait, store=Store.open(tmp_path), detector=detector) < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["london/images", "scut-fbp5500-train/images"])
def test_photographs(folder: str, tmp_path: Path, detector: Detector) -> None:
    """They have 350 or 512 pixels: what is larger is enlarged from them."""
    files = sorted((DATA / folder).glob("*.jpg"))
    if not files:
        pytest.skip(f"no pictures in {DATA / folder}: set SELFAI_TEST_DATA to a folder that holds {folder}")
    store = Store.open(tmp_path)
    for file in files[:: len(files) // 8]:
        picture = cv2.cvtColor(np.asarray(cv2.imread(str(file))), cv2.COLOR_BGR2RGB)
        assert largest_move(picture.astype(np.uint8), store=store, detector=detector) < 0.02
