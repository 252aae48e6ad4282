"""Pictures that lie on their side or upside down, without an EXIF orientation that says so."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from selfai_pipeline.faces.alignment import Points, align, template
from selfai_pipeline.faces.detector import Detection, Detector
from selfai_pipeline.faces.finding import find_faces
from selfai_pipeline.faces.opened import Opened
from selfai_pipeline.faces.settings import FaceSettings
from selfai_pipeline.faces.turned import turned_looks
from selfai_pipeline.sources.gallery.portraits import Rendered

Pixels = npt.NDArray[np.uint8]
Look = Callable[..., Detection | None]
Render = Callable[..., Rendered]
Moved = Callable[[Points, Points], Points]

TARGET = template(crop_size=224, eye_distance=0.25, eye_height=0.46)


def on_its_side(rendered: Rendered, quarters: int) -> tuple[Pixels, Points]:
    """The portrait and its landmarks, turned against the clock by so many quarters."""
    points = rendered.landmarks
    width, height = rendered.pixels.shape[1], rendered.pixels.shape[0]
    for _ in range(quarters):
        points = np.column_stack([points[:, 1], width - points[:, 0]])
        width, height = height, width
    return np.ascontiguousarray(np.rot90(rendered.pixels, quarters)), points


@pytest.mark.parametrize(("quarters", "roll"), [(0, 0), (1, -90), (2, 180), (3, 90)])
def test_faces_are_found_whichever_way_up_they_are(
    portrait: Render, largest_face: Look, moved_in_crop: Moved, quarters: int, roll: float
) -> None:
    """The first landmark stays the eye at the left of the upright face, and the roll tells how it lay."""
    off = []
    for seed in range(15):
        picture, drawn = on_its_side(portrait(seed), quarters)
        face = largest_face(picture)
        assert face is not None
        off.append(moved_in_crop(drawn, face.landmarks)[:2].mean())
        size = (picture.shape[0], picture.shape[1])
        found = align(face.landmarks, TARGET, picture_size=size, crop_size=224).roll
        assert abs((found - roll + 180) % 360 - 180) < 20
    assert max(off) < 10
    assert np.median(off) < 4


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_boxes_and_landmarks_come_back_in_the_pictures_own_pixels(
    portrait: Render, detector: Detector, open_pixels: Callable[[Pixels], Opened], quarters: int
) -> None:
    picture, drawn = on_its_side(portrait(3), quarters)
    ((face,),) = turned_looks([open_pixels(picture)], detector=detector, settings=FaceSettings())
    eyes = np.linalg.norm(drawn[1] - drawn[0])
    assert np.abs(face.landmarks - drawn).max() < eyes
    left, top, right, bottom = face.box
    margin = 0.3 * eyes
    inside = (drawn > np.array([left, top]) - margin) & (drawn < np.array([right, bottom]) + margin)
    assert inside.all()


def test_what_is_found_upright_is_not_looked_for_again_and_turning_can_be_switched_off(
    portrait: Render, detector: Detector, open_pixels: Callable[[Pixels], Opened]
) -> None:
    pictures = [open_pixels(on_its_side(portrait(seed), 1)[0]) for seed in range(15)]
    upright_only = FaceSettings(turned_looks=False)
    counts = {
        settings.turned_looks: [
            len(faces) for faces in find_faces(pictures, detector=detector, settings=settings)
        ]
        for settings in (upright_only, FaceSettings())
    }
    assert counts[True] == [1] * 15
    assert 0 < sum(counts[False]) < 15
    assert turned_looks(pictures[:1], detector=detector, settings=upright_only) == [[]]
