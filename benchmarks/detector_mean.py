"""Which mean colour, and which order of channels, the weights of the detector were trained with.

No file says so: the package that carries the weights subtracts (104, 117, 127) from BGR, the repository that
they come from (104, 117, 123). Each candidate is tried on rendered portraits (or the pictures of
--pictures FOLDER): large, and so small that they are at the edge of what is found, which is where it matters.

    python benchmarks/detector_mean.py [--quick] [--pictures FOLDER]

Prints for each candidate the share that is found (0.8 and above) and the mean score, and as its last line one
JSON object.
"""

import argparse
import importlib.metadata
import json
import platform
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from prune import SEED, originals, pixels_of

from selfai_pipeline.faces import engines
from selfai_pipeline.faces.detector import Detector

SIDES = (256, 64, 56, 48)
CANDIDATES = {
    "BGR 104 117 123": ((104, 117, 123), "BGR"),
    "BGR 104 117 127": ((104, 117, 127), "BGR"),
    "BGR 104 117 113": ((104, 117, 113), "BGR"),
    "BGR 123 117 104": ((123, 117, 104), "BGR"),
    "BGR 127.5 each": ((127.5, 127.5, 127.5), "BGR"),
    "BGR 0 each": ((0, 0, 0), "BGR"),
    "RGB 123 117 104": ((123, 117, 104), "RGB"),
}

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def on_grey(picture: Pixels, side: int) -> Pixels:
    """The picture at a longest side of `side`, in the middle of 256 pixels of grey."""
    scale = side / max(picture.shape)
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    canvas = np.full((256, 256, 3), 110, dtype=np.uint8)
    top, left = (256 - small.shape[0]) // 2, (256 - small.shape[1]) // 2
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="30 pictures in place of 200")
    parser.add_argument("--pictures", type=Path, help="a folder of pictures in place of rendered portraits")
    options = parser.parse_args()
    files = originals(options.pictures, 30 if options.quick else 200)
    pictures = [np.asarray(cv2.cvtColor(pixels_of(content), cv2.COLOR_BGR2RGB)) for content in files]
    detector = Detector.load()
    found: dict[str, dict[str, list[float]]] = {}
    print(f"{len(files)} pictures; found, mean score\n{'':18}" + "".join(f"{side:>16} px" for side in SIDES))
    for name, (mean, order) in CANDIDATES.items():

        def given(values: Pixels, mean: Any = mean, order: str = order) -> np.ndarray[Any, Any]:
            ordered = values if order == "RGB" else values[..., ::-1]
            return np.ascontiguousarray((ordered.astype(np.float32) - np.float32(mean)).transpose(0, 3, 1, 2))

        engines.network_input = given
        found[name] = {}
        for side in SIDES:
            faces = detector.detect([on_grey(picture, side) for picture in pictures], min_score=0.02)
            scores = [max((face.score for face in of_picture), default=0.0) for of_picture in faces]
            found[name][str(side)] = [round(np.mean(np.array(scores) >= 0.8), 3), round(np.mean(scores), 4)]
        print(f"{name:18}" + "".join("{:11.3f}{:8.4f}".format(*pair) for pair in found[name].values()))
    print(
        json.dumps(
            {
                "found": found,
                "n": len(files),
                "seeds": [SEED],
                "source": options.pictures.name if options.pictures else "rendered",
                "hardware": platform.machine(),
                "versions": {"onnxruntime": importlib.metadata.version("onnxruntime")},
            }
        )
    )


if __name__ == "__main__":
    main()
