"""A closer look finds the same landmarks however the face lay in its picture."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from selfai_pipeline.faces.alignment import Points, crop, fit, placed, template
from selfai_pipeline.faces.detector import Detection, Detector
from selfai_pipeline.faces.finding import find_faces
from selfai_pipeline.faces.opened import Opened
from selfai_pipeline.faces.refining import refined
from selfai_pipeline.faces.settings import FaceSettings
from selfai_pipeline.sources.gallery.portraits import Rendered

Pixels = npt.NDArray[np.uint8]
Look = Callable[..., Detection | None]
Render = Callable[..., Rendered]
Transform = Callable[..., tuple[Pixels, Points]]
Moved = Callable[[Points, Points], Points]

TARGET = template(crop_size=224, eye_distance=0.25, eye_height=0.46)
FACE = (slice(70, 190), slice(62, 162))
"""The part of a crop between temples, brows and chin."""


def eyes_moved(
    portraits: list[Rendered], look: Look, transform: Transform, moved: Moved, **settings: object
) -> list[float]:
    """By how many pixels of 224 the eyes of each portrait move in its crop when it is turned by a random
    angle."""
    angles = np.random.default_rng(0).uniform(-45, 45, len(portraits))
    found = []
    for portrait, angle in zip(portraits, angles, strict=True):
        turned, matrix = transform(portrait.pixels, angle=angle)
        before, after = look(portrait.pixels, **settings), look(turned, **settings)
        assert before is not None
        assert after is not None
        found.append(float(moved(placed(before.landmarks, matrix), after.landmarks)[:2].mean()))
    return found


def test_turning_a_portrait_hardly_moves_its_aligned_eyes(
    portrait: Render, largest_face: Look, transform: Transform, moved_in_crop: Moved
) -> None:
    portraits = [portrait(seed) for seed in range(30)]
    moved = eyes_moved(portraits, largest_face, transform, moved_in_crop)
    assert np.median(moved) < 1.0
    assert max(moved) < 4
    as_found = eyes_moved(portraits, largest_face, transform, moved_in_crop, refining_passes=0)
    assert np.median(as_found) > 1.5, "what the closer look is there for"


@hypothesis_settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    seed=st.integers(0, 30),
    angle=st.floats(-45, 45),
    scale=st.floats(0.7, 2),
    shift=st.tuples(st.integers(-60, 60), st.integers(-60, 60)),
)
def test_a_turned_scaled_and_shifted_copy_gives_the_same_crop(
    portrait: Render,
    largest_face: Look,
    transform: Transform,
    moved_in_crop: Moved,
    seed: int,
    angle: float,
    scale: float,
    shift: tuple[int, int],
) -> None:
    """No landmark by more than 6 of 224 pixels, no face by more than 25 of 255 levels in the mean."""
    picture = portrait(seed).pixels
    copy, matrix = transform(picture, angle=angle, scale=scale, shift=shift)
    here, there = largest_face(picture), largest_face(copy)
    assert here is not None
    assert there is not None
    assert moved_in_crop(placed(here.landmarks, matrix), there.landmarks).max() < 6
    one = crop(picture, fit(here.landmarks, TARGET), crop_size=224).astype(int)
    other = crop(copy, fit(there.landmarks, TARGET), crop_size=224).astype(int)
    assert np.abs(one[FACE] - other[FACE]).mean() < 25


def test_landmarks_come_nearer_to_where_they_were_drawn(
    portrait: Render, largest_face: Look, moved_in_crop: Moved, transform: Transform
) -> None:
    off: dict[int, list[float]] = {0: [], 2: []}
    for seed in range(30):
        drawn = portrait(seed)
        picture, matrix = transform(drawn.pixels, angle=30)
        for passes, errors in off.items():
            face = largest_face(picture, refining_passes=passes)
            assert face is not None
            errors.append(float(moved_in_crop(placed(drawn.landmarks, matrix), face.landmarks)[:2].mean()))
    assert np.median(off[2]) < np.median(off[0])
    assert np.median(off[2]) < 3


def test_only_the_landmarks_change(
    portrait: Render, detector: Detector, open_pixels: Callable[[Pixels], Opened]
) -> None:
    picture = open_pixels(portrait(1).pixels)
    ((face,),) = find_faces([picture], detector=detector, settings=FaceSettings())
    (closer,) = refined([picture], [face], detector=detector, settings=FaceSettings())
    assert closer.score == face.score
    assert np.array_equal(closer.box, face.box)
    assert 0 < np.abs(closer.landmarks - face.landmarks).max() < 0.2 * face.eye_distance


def test_a_face_does_not_depend_on_what_is_looked_at_beside_it(
    portrait: Render, detector: Detector, open_pixels: Callable[[Pixels], Opened]
) -> None:
    settings = FaceSettings()
    pictures = [open_pixels(portrait(seed).pixels) for seed in range(5)]
    faces = [found[0] for found in find_faces(pictures, detector=detector, settings=settings)]
    together = refined(pictures, faces, detector=detector, settings=settings)
    for picture, face, closer in zip(pictures, faces, together, strict=True):
        (alone,) = refined([picture], [face], detector=detector, settings=settings)
        assert np.array_equal(alone.landmarks, closer.landmarks)


def test_landmarks_that_are_out_of_place_are_found_by_the_box(
    portrait: Render, detector: Detector, open_pixels: Callable[[Pixels], Opened]
) -> None:
    picture = open_pixels(portrait(1).pixels)
    ((face,),) = find_faces([picture], detector=detector, settings=FaceSettings())
    astray = replace(face, landmarks=face.landmarks * 0.2)
    (closer,) = refined([picture], [astray], detector=detector, settings=FaceSettings())
    assert np.abs(closer.landmarks - face.landmarks).max() < 0.2 * face.eye_distance


def test_a_face_that_the_closer_look_does_not_show_stays_as_it_was_found(
    portrait: Render, detector: Detector, open_pixels: Callable[[Pixels], Opened]
) -> None:
    picture = open_pixels(portrait(1).pixels)
    ((face,),) = find_faces([picture], detector=detector, settings=FaceSettings())
    elsewhere = replace(face, landmarks=face.landmarks * 0.2, box=face.box * 0.2)
    (closer,) = refined([picture], [elsewhere], detector=detector, settings=FaceSettings())
    assert np.array_equal(closer.landmarks, elsewhere.landmarks)


def test_no_faces_are_no_faces(detector: Detector) -> None:
    assert refined([], [], detector=detector, settings=FaceSettings()) == []
