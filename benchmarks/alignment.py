"""How well faces are aligned, and what turning a picture, or shrinking it, does to the crop.

Pictures are portraits of the sample gallery, rendered from seeds that nothing was chosen on, or files of
--pictures FOLDER. Each is found and aligned at the default settings, then changed and aligned again:

- turned by a random angle of -45..45 degrees, with and without the closer look at each face, and with two;
- turned by a random angle of 135..225 degrees, as if upside down, and by 90;
- without its colours;
- shrunk until its eyes are 25, 18, 13 and 9 pixels apart.

What is told is by how many pixels of a crop of 224 the eyes move against the crop of the unchanged picture.
Rendered portraits are also told against where their eyes were drawn.

    python benchmarks/alignment.py [--quick] [--pictures FOLDER]

Prints a table and, as its last line, one JSON object with n, seed, hardware and versions.
"""

import argparse
import importlib.metadata
import json
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from selfai_pipeline.environment import usable_cores
from selfai_pipeline.faces.alignment import Points, align, fit, placed, template
from selfai_pipeline.faces.detector import Detection, Detector
from selfai_pipeline.faces.finding import find_faces
from selfai_pipeline.faces.opened import Opened
from selfai_pipeline.faces.pose import estimated_pose
from selfai_pipeline.faces.refining import refined
from selfai_pipeline.faces.settings import FaceSettings
from selfai_pipeline.faces.sharpness import face_sharpness
from selfai_pipeline.pictures.decoding import Shrunk, decode_rgb
from selfai_pipeline.sources.gallery.attributes import draw_portrait_attributes
from selfai_pipeline.sources.gallery.portraits import render_portrait

SEED = 20261129
DEFAULTS = FaceSettings()
TARGET = template(
    crop_size=DEFAULTS.crop_size, eye_distance=DEFAULTS.eye_distance, eye_height=DEFAULTS.eye_height
)
SMALL = (25, 18, 13, 9)
"""Pixels between the eyes."""

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Change = tuple[Pixels, Points]
"""A changed picture, and the matrix [2, 3] from the old one's pixels to its own."""


def located(
    picture: Pixels, detector: Detector, settings: FaceSettings = DEFAULTS
) -> tuple[int, Detection | None]:
    """How many faces there are, and the largest."""
    height, width = picture.shape[:2]
    opened = Opened({}, b"", max_pixels=picture.size, shrunk=Shrunk(picture, height=height, width=width))
    (faces,) = find_faces([opened], detector=detector, settings=settings)
    closer = refined([opened], faces[:1], detector=detector, settings=settings)
    return len(faces), closer[0] if closer else None


def moved(landmarks: Points, others: Points) -> float:
    """How far the eyes of `landmarks` lie in the crop of `others` from their place in their own."""
    here, there = placed(landmarks, fit(landmarks, TARGET)), placed(landmarks, fit(others, TARGET))
    return float(np.linalg.norm((here - there)[:2], axis=1).mean())


def turned(picture: Pixels, angle: float) -> Change:
    """Turned clockwise by `angle` degrees, on a canvas that holds all of it."""
    height, width = picture.shape[:2]
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    turn = np.array([[cosine, -sine], [sine, cosine]])
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]]) @ turn.T
    matrix = np.column_stack([turn, -corners.min(axis=0)])
    side = np.ceil(corners.max(axis=0) - corners.min(axis=0)).astype(int)
    centred = matrix.copy()
    centred[:, 2] += turn @ [0.5, 0.5] - 0.5
    pixels = cv2.warpAffine(
        picture,
        centred,
        (int(side[0]), int(side[1])),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(pixels, dtype=np.uint8), matrix


def shrunk(picture: Pixels, scale: float) -> Change:
    height, width = picture.shape[:2]
    side = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(cv2.resize(picture, side, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return small, np.array([[side[0] / width, 0, 0], [0, side[1] / height, 0]])


def grey(picture: Pixels) -> Change:
    luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    return np.repeat(np.asarray(luma)[:, :, None], 3, axis=2), np.eye(3)[:2]


def summed(values: Iterable[float]) -> dict[str, float]:
    found = np.array(list(values))
    names = {"median": 0.5, "p90": 0.9, "p99": 0.99, "most": 1.0}
    return (
        {name: round(float(np.quantile(found, share)), 3) for name, share in names.items()}
        if len(found)
        else {}
    )


def against(
    faces: list[Detection], changed: Iterable[Change], look: Callable[[Pixels], tuple[int, Detection | None]]
) -> dict[str, Any]:
    """What became of the eyes of each face in its changed picture."""
    errors, missing, wrong = [], 0, 0
    for face, (picture, matrix) in zip(faces, changed, strict=True):
        _, other = look(picture)
        if other is None:
            missing += 1
            continue
        errors.append(moved(placed(face.landmarks, matrix), other.landmarks))
        wrong += errors[-1] > 0.25 * (TARGET[1, 0] - TARGET[0, 0])
    n = max(1, len(faces))
    return {"eyes_moved_px": summed(errors), "not_found": missing / n, "laid_wrong": wrong / n}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="40 pictures in place of 400")
    parser.add_argument("--pictures", type=Path, help="a folder of pictures of one face each")
    options = parser.parse_args()
    rng = np.random.default_rng(SEED)
    most = 40 if options.quick else 400
    drawn: list[Points] = []
    if options.pictures:
        files = sorted(path for path in options.pictures.iterdir() if path.suffix.lower() in (".jpg", ".png"))
        pictures = [decode_rgb(path.read_bytes(), max_pixels=10**8) for path in files]
    else:
        rendered = [render_portrait(draw_portrait_attributes(rng), typical_side=300) for _ in range(most)]
        pictures, drawn = [one.pixels for one in rendered], [one.landmarks for one in rendered]
    detector = Detector.load()

    start = time.process_time()
    seen = [located(picture, detector) for picture in pictures]
    seconds = time.process_time() - start
    counts = Counter(count for count, _ in seen)
    kept = [index for index, (_, face) in enumerate(seen) if face is not None]
    faces = [face for _, face in seen if face is not None]
    figures: dict[str, dict[str, float]] = {}
    measures: dict[str, list[float]] = {
        name: [] for name in ("residual_px", "border", "yaw", "pitch", "sharpness")
    }
    eyes = []
    for index, face in zip(kept, faces, strict=True):
        size = (pictures[index].shape[0], pictures[index].shape[1])
        laid = align(face.landmarks, TARGET, picture_size=size, crop_size=DEFAULTS.crop_size)
        pose = estimated_pose(face.landmarks)
        opened = Opened({}, b"", max_pixels=1, shrunk=Shrunk(pictures[index], height=size[0], width=size[1]))
        crop = opened.crop(laid.matrix, crop_size=DEFAULTS.crop_size)
        sharp = face_sharpness(crop, matrix=laid.matrix, target=TARGET, picture_size=size)
        measures["residual_px"].append(laid.residual)
        measures["border"].append(laid.border)
        measures["yaw"].append(abs(pose.yaw))
        measures["pitch"].append(abs(pose.pitch))
        measures["sharpness"].append(sharp or 0.0)
        off = placed(face.landmarks, laid.matrix)[:2] - TARGET[:2]
        eyes.append(float(np.linalg.norm(off, axis=1).mean()))
    figures = {name: summed(values) for name, values in measures.items()}
    figures["eyes_to_template_px"] = summed(eyes)
    if drawn:
        errors = (moved(drawn[index], face.landmarks) for index, face in zip(kept, faces, strict=True))
        figures["eyes_to_drawn_px"] = summed(errors)

    step = max(1, len(kept) // most)
    chosen = [(pictures[index], face) for index, face in zip(kept[::step], faces[::step], strict=True)]
    of_chosen = [face for _, face in chosen]
    unrefined, twice = FaceSettings(refining_passes=0), FaceSettings(refining_passes=2)
    leaning = [turned(picture, rng.uniform(-45, 45)) for picture, _ in chosen]

    def look(picture: Pixels) -> tuple[int, Detection | None]:
        return located(picture, detector)

    changes = {
        "turned by up to 45 degrees": against(of_chosen, leaning, look),
        "the same, two passes": against(
            [one for one in (located(picture, detector, twice)[1] for picture, _ in chosen) if one],
            leaning,
            lambda picture: located(picture, detector, twice),
        ),
        "the same, landmarks as found": against(
            [one for one in (located(picture, detector, unrefined)[1] for picture, _ in chosen) if one],
            leaning,
            lambda picture: located(picture, detector, unrefined),
        ),
        "upside down": against(
            of_chosen, (turned(picture, rng.uniform(135, 225)) for picture, _ in chosen), look
        ),
        "on its side": against(of_chosen, (turned(picture, 90) for picture, _ in chosen), look),
        "grey": against(of_chosen, (grey(picture) for picture, _ in chosen), look),
    }
    for pixels in SMALL:
        changes[f"eyes {pixels} px apart"] = against(
            of_chosen, (shrunk(picture, pixels / face.eye_distance) for picture, face in chosen), look
        )

    print(
        f"{len(pictures)} pictures, faces found in each: {dict(sorted(counts.items()))}; {seconds:.1f} CPU s"
    )
    for name, found in figures.items():
        print(f"  {name:34}" + "  ".join(f"{key} {value:8.3f}" for key, value in found.items()))
    print(f"{len(chosen)} of them changed; eyes moved, pixels of 224")
    for name, change in changes.items():
        values = "  ".join(f"{key} {value:7.3f}" for key, value in change["eyes_moved_px"].items())
        print(f"  {name:34}{values}  not found {change['not_found']:.3f}  wrong {change['laid_wrong']:.3f}")
    libraries = ("opencv-python-headless", "onnxruntime", "numpy")
    print(
        json.dumps(
            {
                "n": {"pictures": len(pictures), "changed": len(chosen)},
                "faces_found": {str(count): n for count, n in sorted(counts.items())},
                "figures": figures,
                "changes": changes,
                "seed": SEED,
                "source": options.pictures.name if options.pictures else "rendered, typical side 300",
                "engine": detector.engine.name,
                "hardware": f"{platform.machine()}, {usable_cores()} cores",
                "versions": {
                    **{name: importlib.metadata.version(name) for name in libraries},
                    "python": platform.python_version(),
                },
            }
        )
    )


if __name__ == "__main__":
    main()
