"""Faces are found where they are, whatever the picture's size and its neighbours in the batch."""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch

from selfai_pipeline.errors import InputError
from selfai_pipeline.faces.anchors import anchors
from selfai_pipeline.faces.detector import Detector
from selfai_pipeline.faces.engines import DetectorFailed, OnnxEngine, Raw
from selfai_pipeline.faces.settings import DetectorSettings, EngineName

Pixels = npt.NDArray[np.uint8]
DrawFace = Callable[..., Pixels]

TORCH = DetectorSettings(engine=EngineName.TORCH)
TRUE_LANDMARKS = np.array([[105, 120], [151, 120], [128, 150], [111, 172], [145, 172]])
"""Of the drawn face at 256 pixels."""


def test_a_face_is_found_with_its_landmarks(detector: Detector, draw_face: DrawFace) -> None:
    ((face,),) = detector.detect([draw_face()])
    assert face.score > 0.99
    assert np.abs(face.landmarks - TRUE_LANDMARKS).max() < 5
    left, top, right, bottom = face.box
    assert left < 105
    assert right > 151
    assert top < 110
    assert bottom > 172
    assert face.eye_distance == pytest.approx(46, abs=4)


def test_no_pictures_no_faces(detector: Detector) -> None:
    assert detector.detect([]) == []


def test_pictures_without_a_face(detector: Detector) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (120, 200, 3), dtype=np.uint8)
    flat = np.full((300, 90, 3), 128, dtype=np.uint8)
    thin = np.full((1, 2000, 3), 128, dtype=np.uint8)
    assert detector.detect([noise, flat, thin]) == [[], [], []]


@pytest.mark.parametrize("scale", [0.5, 1.37, 3])
def test_coordinates_are_in_pixels_of_the_picture(
    detector: Detector, draw_face: DrawFace, scale: float
) -> None:
    picture = draw_face(size=round(256 * scale))
    ((face,),) = detector.detect([picture])
    assert np.abs(face.landmarks / scale - TRUE_LANDMARKS).max() < 5


def test_pictures_of_different_sizes_keep_their_order(detector: Detector, draw_face: DrawFace) -> None:
    sizes = [256, 400, 150, 256, 400, 640]
    pictures = [draw_face(size=size) for size in sizes]
    faces = detector.detect(pictures, batch_size=2)
    for size, (face,) in zip(sizes, faces, strict=True):
        assert face.eye_distance * 256 / size == pytest.approx(46, abs=4)


def test_a_picture_does_not_depend_on_its_neighbours(detector: Detector, draw_face: DrawFace) -> None:
    pictures = [draw_face(shade=shade) for shade in (1, 0.8, 0.6, 0.5)]
    together = detector.detect(pictures)
    for picture, (face,) in zip(pictures, together, strict=True):
        ((alone,),) = detector.detect([picture])
        assert np.abs(alone.landmarks - face.landmarks).max() <= 1 / 64
        assert np.abs(alone.box - face.box).max() <= 1 / 64


def test_several_faces_come_largest_first(detector: Detector, draw_face: DrawFace) -> None:
    small = np.pad(draw_face(size=160), ((48, 48), (48, 48), (0, 0)), mode="edge")
    (faces,) = detector.detect([np.hstack([small, draw_face()])], side=512)
    assert len(faces) == 2
    assert faces[0].area > faces[1].area
    assert faces[0].landmarks[0, 0] > 256


def test_a_turned_face_is_found_turned(detector: Detector, draw_face: DrawFace) -> None:
    matrix = cv2.getRotationMatrix2D((127.5, 127.5), 20, 1.0)
    turned = cv2.warpAffine(draw_face(), matrix, (256, 256), borderMode=cv2.BORDER_REPLICATE)
    ((face,),) = detector.detect([np.asarray(turned, dtype=np.uint8)])
    assert np.abs(face.landmarks - (TRUE_LANDMARKS @ matrix[:, :2].T + matrix[:, 2])).max() < 7


def test_a_mirrored_face_has_mirrored_landmarks_in_the_same_order(
    detector: Detector, draw_face: DrawFace
) -> None:
    picture = draw_face()
    (straight,), (mirrored,) = detector.detect([picture, np.ascontiguousarray(picture[:, ::-1])])
    back = (mirrored.landmarks * [-1, 1] + [256, 0])[[1, 0, 2, 4, 3]]
    assert np.abs(back - straight.landmarks).max() < 4


def test_detecting_leaves_the_threads_of_torch_as_they_were(draw_face: DrawFace) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        Detector.load(TORCH).detect([draw_face(size=96)])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_device_that_is_absent_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(InputError, match=r"compute\.device: no cuda device was found"):
        Detector.load(device="cuda")


class Sure(OnnxEngine):
    """Sees a face in one anchor of every picture: all of its landmarks lie in the middle of the anchor."""

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset

    name, one_size = "an engine", False

    def run(self, pictures: Pixels, *, batch_size: int) -> Raw:
        n, count = len(pictures), len(anchors(*pictures.shape[1:3]))
        scores = np.zeros((n, count), dtype=np.float32)
        scores[:, 5] = 1
        boxes, landmarks = np.zeros((n, count, 4)), np.full((n, count, 10), self.offset)
        return Raw(boxes.astype(np.float32), scores, landmarks.astype(np.float32))


def test_what_has_all_landmarks_in_one_point_is_no_face(draw_face: DrawFace) -> None:
    """A picture may be made so; nothing can be aligned by it."""
    assert Detector(Sure(), (TORCH, "cpu")).detect([draw_face(size=64)]) == [[]]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_outputs_that_are_not_finite_are_an_error_and_no_picture_without_a_face(
    draw_face: DrawFace, value: float
) -> None:
    with pytest.raises(
        DetectorFailed, match=r"an engine: .* not finite\. Set detector\.precision to float32"
    ):
        Detector(Sure(value), (TORCH, "cpu")).detect([draw_face(size=64)])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_finds_the_same(detector: Detector, draw_face: DrawFace) -> None:
    ((here,),) = detector.detect([draw_face()])
    ((there,),) = Detector.load(device="cuda").detect([draw_face()])
    assert np.abs(here.landmarks - there.landmarks).max() < 0.1
