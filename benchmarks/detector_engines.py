"""The detector's engines on a processor: time a picture, and how far their landmarks are apart.

Each looks at the same pictures of the usual shapes (rendered portraits, cut to 1:1, 3:4, 2:3 and 4:3 by
turns, or those of --pictures FOLDER) at `detection_side`, on one thread, in turns. Torch is tried with one
square box for all, as Selfai has it, and with a box around each picture, which leaves its batches part empty.

    python benchmarks/detector_engines.py [--quick] [--pictures FOLDER]

Prints a table and, as its last line, one JSON object: CPU milliseconds a picture (`ms`, median of the
rounds), and the greatest and the 99 % distance of a landmark to onnxruntime's, over the distance of the eyes
(`apart`), before the closer look.
"""

import argparse
import importlib.metadata
import json
import platform
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from prune import SEED, originals, pixels_of

from selfai_pipeline.faces.detector import Detector
from selfai_pipeline.faces.engines import TorchEngine
from selfai_pipeline.faces.settings import DetectorSettings, EngineName, FaceSettings, NumberFormat

SHAPES = ((1, 1), (4, 3), (3, 2), (3, 4))
"""Height to width."""

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def cut(picture: Pixels, height: int, width: int) -> Pixels:
    """The largest part of this shape, from the middle."""
    unit = min(picture.shape[0] / height, picture.shape[1] / width)
    rows, columns = round(unit * height), round(unit * width)
    top, left = (picture.shape[0] - rows) // 2, (picture.shape[1] - columns) // 2
    return np.ascontiguousarray(picture[top : top + rows, left : left + columns])


def detectors() -> dict[str, Detector]:
    found = {"onnxruntime": Detector.load(DetectorSettings(engine=EngineName.ONNXRUNTIME))}
    for precision in NumberFormat:
        square = Detector.load(DetectorSettings(engine=EngineName.TORCH, precision=precision))
        assert isinstance(square.engine, TorchEngine)
        fitted = replace(square, engine=replace(square.engine, one_size=False))
        found[f"torch {precision.value}, one box"] = square
        found[f"torch {precision.value}, box around each"] = fitted
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="32 pictures, one round, in place of 192 and three"
    )
    parser.add_argument("--pictures", type=Path, help="a folder of pictures in place of rendered portraits")
    options = parser.parse_args()
    files = originals(options.pictures, 32 if options.quick else 192)
    whole = [np.asarray(cv2.cvtColor(pixels_of(content), cv2.COLOR_BGR2RGB)) for content in files]
    pictures = [cut(picture, *SHAPES[number % len(SHAPES)]) for number, picture in enumerate(whole)]
    side, at_once = FaceSettings().detection_side, 16
    each, taken = detectors(), {}
    faces: dict[str, list[Any]] = {}
    for _ in range(1 if options.quick else 3):
        for name, detector in each.items():
            detector.detect(pictures[:8], side=side)
            started = time.process_time()
            faces[name] = []
            for start in range(0, len(pictures), at_once):
                faces[name] += detector.detect(pictures[start : start + at_once], side=side)
            taken.setdefault(name, []).append(1000 * (time.process_time() - started) / len(pictures))
    reference = faces["onnxruntime"]
    apart: dict[str, list[float]] = {}
    for name, found in faces.items():
        moves = [
            float(np.linalg.norm(one[0].landmarks - other[0].landmarks, axis=1).max() / other[0].eye_distance)
            for one, other in zip(found, reference, strict=True)
            if one and other
        ]
        apart[name] = [round(max(moves), 4), round(float(np.quantile(moves, 0.99)), 4)]
    milliseconds = {name: round(statistics.median(times), 2) for name, times in taken.items()}
    print(
        f"{len(files)} pictures at {side} pixels\n{'':36}{'ms':>8}{'apart: most':>14}{'99 %':>8}{'faces':>8}"
    )
    for name, spent in milliseconds.items():
        count = sum(map(len, faces[name]))
        print(f"{name:36}{spent:8.2f}{apart[name][0]:14.4f}{apart[name][1]:8.4f}{count:8}")
    libraries = ("onnxruntime", "torch", "opencv-python-headless", "numpy")
    print(
        json.dumps(
            {
                "ms": milliseconds,
                "apart": apart,
                "n": len(files),
                "seeds": [SEED],
                "source": options.pictures.name if options.pictures else "rendered",
                "hardware": platform.machine(),
                "versions": {name: importlib.metadata.version(name) for name in libraries},
            }
        )
    )


if __name__ == "__main__":
    main()
