"""How well a removed picture is told from others when it comes back: by its perceptual hash alone.

Of each original, a rendered portrait or a file of --pictures FOLDER, the hash is kept as a tombstone keeps
it. Then come the nine copies of `prune.py`, a turned one and a WebP, and all other originals.

    python benchmarks/removal.py [--quick] [--pictures FOLDER]

Prints a table and, as its last line, one JSON object: `refused` (share of copies by kind), `false_share` (of
pairs of different pictures that would be refused), `nearest` (bits between the two different pictures that
are most alike), `ms` (median milliseconds to look at one picture, decoding included) and n.
"""

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path

import cv2
import numpy as np
from prune import COPIES, SEED, jpeg, originals, pixels_of

from selfai_pipeline.pictures.looks import RADIUS, thumbnail_in, turned_hashes

MORE = {
    "turned by 90 degrees": lambda pixels, _: jpeg(np.ascontiguousarray(np.rot90(pixels))),
    "as WebP at quality 70": lambda pixels, _: cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, 70])[
        1
    ].tobytes(),
}


def looks_of(content: bytes) -> np.ndarray:
    thumbnail = thumbnail_in(content, orientation=1)
    if thumbnail is None:
        raise SystemExit("a picture cannot be decoded")
    return turned_hashes(thumbnail)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--pictures", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    files = originals(options.pictures, 40 if options.quick else 400)
    kept = [looks_of(content)[0] for content in files]
    bits: dict[str, list[int]] = {}
    seconds: list[float] = []
    for number, content in enumerate(files):
        pixels, generator = pixels_of(content), np.random.default_rng([SEED, 1, number])
        for kind, copy in {**COPIES, **MORE}.items():
            again = copy(pixels, generator)
            started = time.perf_counter()
            hashes = looks_of(again)
            seconds.append(time.perf_counter() - started)
            distances = np.bitwise_count(hashes ^ kept[number]).sum(axis=1)
            bits.setdefault(kind, []).append(int(distances.min()))
    others = np.stack(kept)
    nearest, close, pairs = 256, 0, 0
    for number, content in enumerate(files):
        hashes = looks_of(content)
        distances = np.bitwise_count(others[None, :] ^ hashes[:, None]).sum(axis=2).min(axis=0)
        different = np.delete(distances, number)
        nearest, pairs = min(nearest, int(different.min())), pairs + len(different)
        close += int((different <= RADIUS).sum())
    refused = {kind: float(np.mean(np.array(found) <= RADIUS)) for kind, found in bits.items()}
    print(f"{len(files)} originals, radius {RADIUS} of 256 bits, seed {SEED}")
    for kind, share in refused.items():
        print(f"{kind:30} refused {share:.3f}, bits in the median {statistics.median(bits[kind]):.0f}")
    print(
        f"different pictures: {close} of {pairs} pairs would be refused, the nearest are {nearest} bits apart"
    )
    print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}, "
        f"opencv {cv2.__version__}, numpy {np.__version__}"
    )
    figures = {
        "refused": refused,
        "false_share": close / pairs,
        "nearest": nearest,
        "ms": round(1000 * statistics.median(seconds), 2),
        "n": len(files),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
