"""The sharpness of the face counts, not that of what is around it."""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from selfai_pipeline.faces.alignment import Points, template
from selfai_pipeline.faces.sharpness import face_sharpness

Pixels = npt.NDArray[np.uint8]

TARGET = template(crop_size=224, eye_distance=0.25, eye_height=0.46)
AS_IT_IS = np.array([[1.0, 0, 0], [0, 1, 0]])


def measured(
    pixels: Pixels, *, size: tuple[int, int] = (224, 224), matrix: Points = AS_IT_IS
) -> float | None:
    return face_sharpness(pixels, matrix=matrix, target=TARGET, picture_size=size)


def blurred(pixels: Pixels) -> Pixels:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), 2), dtype=np.uint8)


def test_a_face_out_of_focus_is_less_sharp(draw_face: Callable[..., Pixels]) -> None:
    picture = draw_face(size=224)
    sharp, soft = measured(picture), measured(blurred(picture))
    assert sharp is not None
    assert soft is not None
    assert soft < sharp / 10


def test_a_background_out_of_focus_changes_nothing(draw_face: Callable[..., Pixels]) -> None:
    picture = draw_face(size=224)
    around = blurred(picture)
    around[60:200, 50:175] = picture[60:200, 50:175]
    assert measured(around) == measured(picture)


def test_pixels_that_lie_outside_the_picture_do_not_count() -> None:
    """The picture ends in the middle of the face; what was invented beyond it is flat."""
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    whole = measured(pixels)
    pixels[:, 112:] = 128
    cut = measured(pixels, size=(224, 112))
    assert whole is not None
    assert cut is not None
    assert abs(cut / whole - 1) < 0.1


def test_without_any_of_the_face_there_is_no_value() -> None:
    far = np.array([[1.0, 0, 5000], [0, 1, 5000]])
    assert measured(np.zeros((224, 224, 3), dtype=np.uint8), matrix=far) is None
