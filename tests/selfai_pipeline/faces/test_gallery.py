"""The sample gallery: a face in each portrait, and what its small ones tell about the network's input."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from selfai_pipeline.faces.detector import Detector
from selfai_pipeline.faces.settings import FaceSettings
from selfai_pipeline.sources.gallery.attributes import draw_portrait_attributes
from selfai_pipeline.sources.gallery.portraits import render_portrait

Pixels = npt.NDArray[np.uint8]


def portrait(seed: int) -> Pixels:
    attributes = draw_portrait_attributes(np.random.default_rng([8, seed]))
    return np.ascontiguousarray(render_portrait(attributes, typical_side=400).pixels)


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
