"""On generated pictures: a face in each portrait of the sample gallery, none where none was drawn."""

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from selfai_pipeline.faces.detector import Detector
from selfai_pipeline.faces.finding import find_faces
from selfai_pipeline.faces.opened import open_picture
from selfai_pipeline.faces.settings import FaceSettings
from selfai_pipeline.sources.gallery.attributes import draw_portrait_attributes
from selfai_pipeline.sources.gallery.portraits import render_portrait
from selfai_pipeline.sources.gallery.scenery import landscape, still_life, with_grain
from selfai_pipeline.store import Store

Pixels = npt.NDArray[np.uint8]


def portrait(seed: int) -> Pixels:
    attributes = draw_portrait_attributes(np.random.default_rng([8, seed]))
    return np.ascontiguousarray(render_portrait(attributes, typical_side=400).pixels)


def scenes() -> Iterator[Pixels]:
    for seed in range(50):
        for scenery in (landscape, still_life):
            generator = np.random.default_rng([5, seed])
            drawn = scenery(generator, width=480, height=360, hue=float(generator.random()))
            yield (np.clip(with_grain(drawn, generator, strength=0.02), 0, 1) * 255).astype(np.uint8)


def patterns() -> Iterator[Pixels]:
    for seed in range(50):
        generator = np.random.default_rng([6, seed])
        coarse = generator.integers(0, 256, (int(generator.integers(4, 90)), 60, 3), dtype=np.uint8)
        yield np.asarray(cv2.resize(coarse, (480, 360), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
        canvas = np.full((360, 480, 3), generator.integers(0, 256, 3), dtype=np.uint8)
        for _ in range(30):
            x, y, a, b = (int(value) for value in generator.integers(0, [480, 360, 120, 120]))
            colour = generator.integers(0, 256, 3).tolist()
            cv2.ellipse(canvas, (x, y), (a, b), float(generator.integers(180)), 0, 360, colour, -1)
        yield canvas


@pytest.mark.slow
def test_two_hundred_pictures_without_a_face_give_none(
    detector: Detector, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = Store.open(tmp_path_factory.mktemp("scenes"))
    opened = []
    for pixels in (*scenes(), *patterns()):
        _, content = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        row = {"image_id": store.pictures.put(content.tobytes()), "orientation": 1}
        opened.append(open_picture(row, store=store, settings=FaceSettings()))
    assert len(opened) == 200
    assert find_faces(opened, detector=detector, settings=FaceSettings()) == [[]] * 200


@pytest.mark.slow
def test_portraits_of_the_gallery_are_found_at_nine_tenths_or_better(detector: Detector) -> None:
    portraits = [
        np.ascontiguousarray(
            render_portrait(
                draw_portrait_attributes(np.random.default_rng([8, seed])), typical_side=400
            ).pixels
        )
        for seed in range(60)
    ]
    found = detector.detect(portraits, side=FaceSettings().detection_side)
    assert [len(faces) for faces in found] == [1] * 60
    assert min(face.score for (face,) in found) >= 0.9


def test_the_order_of_the_channels_is_that_of_the_weights(detector: Detector) -> None:
    """Small faces tell: nearly all are lost where red and blue are exchanged."""
    canvases = []
    for seed in range(12):
        canvas = np.full((256, 256, 3), 110, dtype=np.uint8)
        canvas[100:156, 100:156] = cv2.resize(portrait(seed), (56, 56), interpolation=cv2.INTER_AREA)
        canvases.append(canvas)
    right = detector.detect(canvases)
    exchanged = detector.detect([np.ascontiguousarray(canvas[..., ::-1]) for canvas in canvases])
    found = [sum(map(bool, faces)) for faces in (right, exchanged)]
    assert found[0] >= 2 * found[1] + 3
