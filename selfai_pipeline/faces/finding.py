"""Open the kept pictures of a day, find the faces of each, and hand both to what comes next.

A picture is read at the size at which faces are looked for, which for a JPEG costs no more than that. It is
read again, larger, where nothing was found, or where its face has fewer pixels there than the crop shows.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from selfai_pipeline.environment import usable_cores
from selfai_pipeline.faces.detector import Detection, Detector
from selfai_pipeline.faces.opened import Opened, open_picture
from selfai_pipeline.faces.refining import refined
from selfai_pipeline.faces.rules import chosen_faces
from selfai_pipeline.faces.settings import DetectorSettings, FaceSettings
from selfai_pipeline.faces.turned import turned_looks
from selfai_pipeline.pictures.examine import one_thread_a_call
from selfai_pipeline.store import Store
from selfai_pipeline.workers import map_in_processes


@dataclass(frozen=True)
class Seen:
    """A picture, how many faces were found in it, and by their numbers those that count (see `chosen_faces`).

    Faces are in pixels of the whole picture.
    """

    picture: Opened
    faces_found: int
    faces: Mapping[int, Detection]


Result = TypeVar("Result")
Work = Callable[[Seen], Any]
Finish = Callable[[list[Any]], Iterable[Result]]
Row = dict[str, Any]
Map = Callable[..., Iterator[Any]]

_FEW = 100
"""Pictures from which on a second process earns more than its start costs."""

_JOB = 16
"""Pictures that a process is given at a time; enough that handing over costs nothing."""

_PIXELS_AT_ONCE = 12_000_000
"""Of opened pictures in one process, beside the last one."""


def over_pictures(
    rows: Sequence[Row],
    work: Work,
    finish: Finish[Result] = iter,
    *,
    store: Store,
    detector: Detector,
    settings: FaceSettings,
) -> Generator[Result, None, None]:
    """What `work` and `finish` make of each picture of `rows` (of the pruned set) and its faces, in the rows'
    order.

    It comes as it is made, and none of it is kept here: memory does not grow with the pictures. Who leaves
    some of it has to close it.

    On a processor, many pictures go over as many processes as there are cores, and what comes out is the
    same to the bit; on any other device one process looks at larger batches, and threads open the pictures.

    Args:
        rows: `image_id` and `orientation` of each picture; all that stands in them goes to other processes.
        work: takes a picture with the faces that count. It goes to other processes, as `finish` does: a
            function that can be imported, and what it holds can be pickled.
        finish: takes what `work` made of up to 16 pictures and gives a result for each, for what costs less
            when it is done for several at once; by default they stay as they are.

    Raises:
        MissingVersion, AlteredVersion: a stored picture is gone, or its bytes are not what its name says.
        WorkerKilled, WorkerLost: a process ended before its work was done.
    """
    workers = workers_for(len(rows), detector=detector, settings=settings)
    jobs = [rows[start : start + _JOB] for start in range(0, len(rows), _JOB)]
    if workers > 1:
        loaded = partial(_worker, detector.made_by, work=work, finish=finish, store=store, settings=settings)
        with closing(map_in_processes(loaded, jobs, workers=workers)) as done:
            for results in done:
                yield from results
        return
    with _side_by_side(detector) as side_by_side:
        looking = partial(
            _results, work=work, store=store, detector=detector, settings=settings, side_by_side=side_by_side
        )
        made = looking(rows)
        while some := list(islice(made, _JOB)):
            yield from finish(some)


def workers_for(pictures: int, *, detector: Detector, settings: FaceSettings) -> int:
    """Processes that look at so many pictures: 1 is this one."""
    if detector.engine.device != "cpu":
        return 1
    if settings.workers:
        return settings.workers
    return usable_cores() if pictures >= _FEW else 1


def _worker(
    made_by: tuple[DetectorSettings, str],
    *,
    work: Work,
    finish: Finish[Result],
    store: Store,
    settings: FaceSettings,
) -> Callable[[Sequence[Row]], list[Result]]:
    """What a process of its own does with a job; the detector is loaded once."""
    detector = Detector.load(*made_by)

    def results(rows: Sequence[Row]) -> list[Result]:
        with one_thread_a_call():
            looking = partial(_results, work=work, store=store, detector=detector, settings=settings)
            return list(finish(list(looking(rows, side_by_side=map))))

    return results


@contextmanager
def _side_by_side(detector: Detector) -> Iterator[Map]:
    """`map` for what is done with each picture on the processor: in threads while another device looks."""
    with one_thread_a_call():
        if detector.engine.device == "cpu":
            yield map
            return
        with ThreadPoolExecutor(usable_cores(), thread_name_prefix="faces") as pool:
            yield pool.map


def _results(
    rows: Sequence[Row],
    *,
    work: Work,
    store: Store,
    detector: Detector,
    settings: FaceSettings,
    side_by_side: Map,
) -> Iterator[Any]:
    size = settings.batch_size or detector.engine.batch_size
    opening = partial(open_picture, store=store, settings=settings)
    for start in range(0, len(rows), size):
        batch = list(side_by_side(opening, rows[start : start + size]))
        found = find_faces(batch, detector=detector, settings=settings)
        seen = [_seen(one, faces, settings=settings) for one, faces in zip(batch, found, strict=True)]
        for part in _parts(seen, settings=settings):
            sharp = list(side_by_side(partial(_sharper, settings=settings), part))
            closer = _closer(sharp, detector=detector, settings=settings, side_by_side=side_by_side)
            yield from side_by_side(work, closer)


def find_faces(
    pictures: Sequence[Opened], *, detector: Detector, settings: FaceSettings
) -> list[list[Detection]]:
    """The faces of each picture, largest first, in pixels of the whole.

    Where a large one shows none, there is a second look; where it then shows none either, it is turned.
    """

    def look(at: Sequence[Opened], *, side: int, batch_size: int) -> list[list[Detection]]:
        pixels = [one.pixels for one in at if one.pixels is not None]
        found = detector.detect(
            pixels, side=side, min_score=settings.min_detection_score, batch_size=batch_size
        )
        return [[one.in_whole(face) for face in faces] for one, faces in zip(at, found, strict=True)]

    found: list[list[Detection]] = [[] for _ in pictures]
    readable = [index for index, one in enumerate(pictures) if one.pixels is not None]
    first = look(
        [pictures[index] for index in readable],
        side=settings.detection_side,
        batch_size=settings.batch_size,
    )
    for index, faces in zip(readable, first, strict=True):
        found[index] = faces
    if settings.second_side > settings.detection_side:
        for index in readable:
            one = pictures[index]
            if not found[index] and max(one.size) > settings.detection_side:
                # One at a time: these are large.
                larger = one.with_side(settings.second_side)
                if larger.pixels is not None:
                    (found[index],) = look([larger], side=settings.second_side, batch_size=1)
    empty = [index for index in readable if not found[index]]
    turned = turned_looks([pictures[index] for index in empty], detector=detector, settings=settings)
    for index, faces in zip(empty, turned, strict=True):
        found[index] = faces
    return found


def _seen(one: Opened, faces: Sequence[Detection], *, settings: FaceSettings) -> Seen:
    chosen = chosen_faces(faces, settings.which_face, picture_size=one.size)
    return Seen(one, len(faces), dict(chosen))


def _parts(batch: Sequence[Seen], *, settings: FaceSettings) -> Iterator[list[Seen]]:
    """The batch in parts whose pictures, once as large as their crops need them, are no more than fit."""
    part: list[Seen] = []
    pixels = 0
    for one in batch:
        part.append(one)
        pixels += one.picture.pixels_at(_density(one, settings=settings))
        if pixels > _PIXELS_AT_ONCE:
            yield part
            part, pixels = [], 0
    if part:
        yield part


def _sharper(one: Seen, *, settings: FaceSettings) -> Seen:
    """The picture with as many pixels as the crops of its faces show, as far as it has them; it has no face
    where it cannot be decoded at that size."""
    picture = one.picture.with_density(_density(one, settings=settings))
    return Seen(picture, 0, {}) if picture.pixels is None else replace(one, picture=picture)


def _density(one: Seen, *, settings: FaceSettings) -> float:
    """Pixels a pixel of the whole picture that the crop of its smallest face shows, of those that are large
    enough for one; 0 without a face."""
    least = max(1.0, settings.min_eye_distance)
    distances = [face.eye_distance for face in one.faces.values() if face.eye_distance >= least]
    return settings.crop_size * settings.eye_distance / min(distances) if distances else 0.0


def _closer(
    seen: Sequence[Seen], *, detector: Detector, settings: FaceSettings, side_by_side: Map
) -> list[Seen]:
    """The same pictures, their faces with the landmarks that a closer look shows."""
    faces = iter(
        refined(
            [one.picture for one in seen for _ in one.faces],
            [face for one in seen for face in one.faces.values()],
            detector=detector,
            settings=settings,
            side_by_side=side_by_side,
        )
    )
    return [replace(one, faces={number: next(faces) for number in one.faces}) for one in seen]
