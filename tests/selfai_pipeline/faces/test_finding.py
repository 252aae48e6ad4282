"""Pictures and their faces are handed on in order, to the bit the same however many processes look."""

import contextlib
import io
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import pytest
import torch
from PIL import Image

from selfai_pipeline.errors import AlteredVersion
from selfai_pipeline.faces import finding
from selfai_pipeline.faces.detector import Detection, Detector
from selfai_pipeline.faces.engines import OnnxEngine
from selfai_pipeline.faces.finding import Seen, over_pictures, workers_for
from selfai_pipeline.faces.opened import Opened
from selfai_pipeline.faces.settings import DetectorSettings, EngineName, FaceSettings
from selfai_pipeline.store import Store
from selfai_pipeline.workers import WorkerKilled

Pixels = npt.NDArray[np.uint8]
DrawFace = Callable[..., Pixels]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path)


def rows_of(store: Store, pictures: Sequence[Pixels], kind: str = "PNG") -> list[dict[str, Any]]:
    rows = []
    for pixels in pictures:
        sink = io.BytesIO()
        Image.fromarray(pixels).save(sink, kind, **({"quality": 92} if kind == "JPEG" else {}))
        rows.append({"image_id": store.pictures.put(sink.getvalue()), "orientation": 1})
    return rows


def seen(one: Seen) -> tuple[Opened, list[Detection]]:
    return one.picture, list(one.faces.values())


def look(store: Store, detector: Detector, rows: list[dict[str, Any]], **settings: Any) -> list[Any]:
    settings_of_it = FaceSettings(**settings)
    return list(over_pictures(rows, seen, store=store, detector=detector, settings=settings_of_it))


def eyes(results: list[tuple[Opened, list[Detection]]]) -> list[list[float]]:
    return [face.landmarks.ravel().tolist() for _, faces in results for face in faces]


def test_faces_are_in_pixels_of_the_whole_picture(
    store: Store, detector: Detector, draw_face: DrawFace
) -> None:
    rows = rows_of(store, [draw_face(size=size) for size in (256, 1024, 2300)], "JPEG")
    for size, (opened, (face,)) in zip((256, 1024, 2300), look(store, detector, rows), strict=True):
        assert opened.size == (size, size)
        assert opened.pixels.shape[0] < 640
        assert face.eye_distance * 256 / size == pytest.approx(46, abs=5)


def test_a_small_face_is_read_with_the_pixels_that_its_crop_shows(
    store: Store, detector: Detector, draw_face: DrawFace
) -> None:
    wide = np.full((1200, 1600, 3), (150, 170, 190), dtype=np.uint8)
    wide[300:812, 600:1112] = draw_face(size=512)
    ((opened, (face,)),) = look(store, detector, rows_of(store, [wide], "JPEG"))
    assert face.eye_distance == pytest.approx(92, abs=8)
    # The crop shows 56 pixels between the eyes: a half of the picture has 46, the whole 92.
    assert opened.pixels.shape == (1200, 1600, 3)
    ((opened, _),) = look(store, detector, rows_of(store, [wide], "JPEG"), crop_size=64)
    assert opened.pixels.shape[1] == 400


@pytest.mark.slow
def test_processes_and_batches_change_nothing(store: Store, detector: Detector, draw_face: DrawFace) -> None:
    shades = np.linspace(0.5, 1, 40)
    pictures = [draw_face(size=200 + 7 * index, shade=shade) for index, shade in enumerate(shades)]
    rows = rows_of(store, [*pictures, np.full((90, 90, 3), 99, dtype=np.uint8)])

    def found(**settings: Any) -> list[list[float]]:
        # A process of its own cannot import this module, but what stands in the library.
        each = over_pictures(
            rows, attrgetter("faces"), store=store, detector=detector, settings=FaceSettings(**settings)
        )
        faces = [face for of_picture in each for face in of_picture.values()]
        return [[*face.box, *face.landmarks.ravel(), face.score] for face in faces]

    alone = found(workers=1)
    assert len(alone) == 40
    assert found(workers=2) == found(workers=3, batch_size=5) == alone


@pytest.mark.parametrize("processes", [1, 2])
def test_what_is_made_of_several_pictures_is_finished_together(
    store: Store, detector: Detector, draw_face: DrawFace, processes: int
) -> None:
    flat = np.full((90, 90, 3), 99, dtype=np.uint8)
    rows = rows_of(store, [draw_face(size=200), flat]) * 17
    settings = FaceSettings(workers=processes)
    finish = partial(map, len)
    faces = over_pictures(
        rows, attrgetter("faces"), finish, store=store, detector=detector, settings=settings
    )
    assert list(faces) == [1, 0] * 17
    several = over_pictures(
        rows, attrgetter("faces_found"), sorted, store=store, detector=detector, settings=settings
    )
    assert list(several) == [*[0] * 8, *[1] * 8] * 2 + [0, 1], "sixteen at a time"


def workers() -> list[psutil.Process]:
    """The worker processes of this one; another child, or one that has just ended, is none."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if "selfai_pipeline.workers" in " ".join(child.cmdline()):
                found.append(child)
    return found


@pytest.mark.slow
def test_a_process_killed_in_the_middle_is_told_and_leaves_none_behind(
    store: Store, detector: Detector, draw_face: DrawFace
) -> None:
    rows = rows_of(store, [draw_face(size=200)]) * 2000
    settings = FaceSettings(workers=2)
    faces = over_pictures(rows, attrgetter("faces"), store=store, detector=detector, settings=settings)
    assert len(next(faces)) == 1
    workers()[0].kill()
    with pytest.raises(WorkerKilled, match="signal 9"):
        deque(faces, maxlen=0)
    assert workers() == []


@pytest.mark.slow
def test_processes_end_where_the_rest_is_left(store: Store, detector: Detector, draw_face: DrawFace) -> None:
    rows = rows_of(store, [draw_face(size=200)]) * 2000
    settings = FaceSettings(workers=2)
    faces = over_pictures(rows, attrgetter("faces"), store=store, detector=detector, settings=settings)
    next(faces)
    assert len(workers()) == 2
    faces.close()
    assert workers() == []


def test_batches_of_any_size_give_the_same(store: Store, draw_face: DrawFace) -> None:
    pictures = [draw_face(size=200 + 30 * (index % 4), shade=1 - index / 20) for index in range(7)]
    rows = rows_of(store, pictures)
    detector = Detector.load(DetectorSettings(engine=EngineName.TORCH))
    apart = [eyes(look(store, detector, [row])) for row in rows]
    assert eyes(look(store, detector, rows)) == [one for (one,) in apart]


def test_a_picture_that_is_altered_stops_it(store: Store, detector: Detector, draw_face: DrawFace) -> None:
    rows = rows_of(store, [draw_face(size=96)])
    relative = store.pictures.relative_path(rows[0]["image_id"])
    store.files.local_path(relative).write_bytes(b"altered")
    with pytest.raises(AlteredVersion):
        look(store, detector, rows)


def test_few_pictures_do_not_pay_for_processes(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "usable_cores", lambda: 6)

    def workers(pictures: int, **settings: Any) -> int:
        return workers_for(pictures, detector=detector, settings=FaceSettings(**settings))

    assert [workers(10), workers(10_000), workers(10_000, workers=3)] == [1, 6, 3]


def test_memory_is_bounded_however_many_faces_need_the_whole(
    store: Store, detector: Detector, draw_face: DrawFace
) -> None:
    """Eight pictures of 12 megapixels, each with a small face: never all of them whole at a time."""
    large = np.full((3000, 4000, 3), (150, 170, 190), dtype=np.uint8)
    large[1000:1400, 1000:1400] = draw_face(size=400)
    rows = rows_of(store, [large], "JPEG") * 8
    process = psutil.Process()

    def memory(one: Seen) -> tuple[int, int]:
        assert one.picture.pixels is not None
        return one.picture.pixels.shape[1], process.memory_info().rss

    settings = FaceSettings(detection_side=640)
    before = process.memory_info().rss
    found = list(over_pictures(rows, memory, store=store, detector=detector, settings=settings))
    assert {width for width, _ in found} == {4000}
    assert max(rss for _, rss in found) - before < 5 * large.nbytes


class Elsewhere(OnnxEngine):
    """Computes here, and says that it is another device."""

    device = "elsewhere"


def test_beside_another_device_threads_open_the_pictures_and_nothing_changes(
    store: Store, detector: Detector, draw_face: DrawFace
) -> None:
    rows = rows_of(store, [draw_face(size=200 + 20 * index) for index in range(12)])
    elsewhere = Detector(Elsewhere.load(), detector.made_by)
    assert workers_for(10_000, detector=elsewhere, settings=FaceSettings(workers=4)) == 1
    assert eyes(look(store, elsewhere, rows)) == eyes(look(store, detector, rows))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_finds_the_same(store: Store, detector: Detector, draw_face: DrawFace) -> None:
    rows = rows_of(store, [draw_face(size=200 + 20 * index) for index in range(12)])
    there = eyes(look(store, Detector.load(device="cuda"), rows))
    assert np.abs(np.array(there) - eyes(look(store, detector, rows))).max() < 1
