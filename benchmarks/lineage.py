"""How long `selfai audit` takes on a model that was trained on 30,000 rows: a fresh process each time.

A home is written through the real stores: 30 days of 1,000 pictures (crawled, pruned, aligned), 150,000
ratings, two versions of the labels, a chain of three checkpoints registered in MLflow's SQLite database, and
a report. Ids, hashes and thumbnails are random, so that nothing compresses; pictures and crops themselves are
not there, as only `--verify` reads them. One row has the looks of a picture that is asked for as a file of
other bytes, and as one that was cropped, which its thumbnail alone finds. A third file is of a picture that
nobody knows: that is said when all thumbnails were compared. Then the command is run in turns with each of
the questions, and the median of the seconds from the start of its process to its end is taken.

    python benchmarks/lineage.py [--quick] [--rows 30000] [--rounds 7]

Prints a table and, as its last line, one JSON object: `audit_s` (the whole chain) and `picture_s` (one
picture by its id), beside `picture_by_url_s`, `picture_by_file_s` (by its hash of looks),
`picture_by_thumbnail_s` (cropped), `picture_unknown_s`, `host_s`, `annotator_s` and `import_s` (the same
command's `--help`).
"""

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

SEED = 20261129
DAY_ROWS = 1000
RATINGS = 5
COMMAND = [sys.executable, "-c", "from selfai_pipeline.cli import main; main()"]
UNKNOWN = "no version knows these bytes or a picture that looks the same"
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
EMPTY = {"string": "", "int64": 0, "double": 0.0, "bool": True, "timestamp[us, tz=UTC]": MOMENT}


class Builder:
    """Writes tables whose columns are arrays; a column that is not given is null or empty."""

    def __init__(self, home: Path) -> None:
        from selfai_pipeline.store import Store

        self.store = Store.open(home)
        self.generator = np.random.default_rng(SEED)

    def hashes(self, number: int) -> list[str]:
        return [self.generator.bytes(32).hex() for _ in range(number)]

    def pixels(self, number: int) -> dict[str, list[bytes]]:
        return {
            "perceptual_hash": [self.generator.bytes(32) for _ in range(number)],
            "thumbnail": [self.generator.bytes(4096) for _ in range(number)],
        }

    def write(self, asset: str, partition: str, inputs: list[Any], columns: dict[str, list[Any]]) -> Any:
        import pyarrow as pa

        from selfai_pipeline.schemas import TABLES

        number = len(next(iter(columns.values())))
        arrays = []
        for field in TABLES[asset]:
            value = None if field.nullable else EMPTY[str(field.type)]
            arrays.append(pa.array(columns.get(field.name, [value] * number), type=field.type))
        table = pa.table(arrays, schema=TABLES[asset])
        ref = self.store.tables.write(table, asset=asset, partition=partition)
        self.point(ref, inputs)
        return ref

    def point(self, ref: Any, inputs: list[Any]) -> None:
        from selfai_pipeline.tables import Record

        hashes: dict[str, dict[str, str]] = {}
        for one in inputs:
            hashes.setdefault(one.asset, {})[one.partition] = one.sha256
        self.store.tables.point(Record(ref, "1", {"setting": 1}, hashes, run_id=f"run {ref.asset}"))

    def checkpoint(self, asset: str, labels: Any, parent: Any = None) -> Any:
        from selfai_pipeline.networks.network import Network
        from selfai_pipeline.networks.stages import tiny_darknet
        from selfai_pipeline.training.checkpoints import save_checkpoint

        inputs = {"labels": labels.sha256} | ({"parent": parent.sha256} if parent else {})
        record = {"input_size": 112, "settings": {}, "metrics": {}, "history": [], "growth": []}
        ref = save_checkpoint(
            Network(tiny_darknet(1.0)),
            asset=asset,
            record={**record, "inputs": inputs},
            rows=labels.rows,
            store=self.store,
        )
        self.point(ref, [labels, parent] if parent else [labels])
        return ref


def build(home: Path, rows: int) -> dict[str, str]:
    """The home; returns a picture's id, address and files of `picture_files`, a host and an annotator."""
    builder = Builder(home)
    files, looks = picture_files(home.parent)
    crawls, faces, ids, crops = [], [], [], []
    address = ""
    for index in range(rows // DAY_ROWS):
        day = f"2026-01-{index + 1:02d}"
        own, own_crops = sorted(builder.hashes(DAY_ROWS)), builder.hashes(DAY_ROWS)
        urls = [f"https://host{k % 20}.example/{day}/{k}.jpg" for k in range(DAY_ROWS)]
        named = {"image_id": own, "url": urls, "source": [f"source{k % 3}" for k in range(DAY_ROWS)]}
        crawls.append(builder.write("raw_crawl", day, [], {**named, "status": ["stored"] * DAY_ROWS}))
        seen = builder.pixels(DAY_ROWS)
        if index == rows // DAY_ROWS - 1:
            for name, value in looks.items():
                seen[name][500] = value
        pruned = builder.write("pruned_set", day, [crawls[-1]], {**named, **seen})
        columns = {**named, **seen, "crop_sha256": own_crops}
        faces.append(builder.write("aligned_faces", day, [pruned], columns))
        ids += own
        crops += own_crops
        address = urls[500]
    picture = own[500]
    ratings = {
        "image_id": [one for one in ids for _ in range(RATINGS)],
        "annotator": [f"site/person{k % 60}" for k in range(rows * RATINGS)],
        "score": builder.generator.integers(0, 10, rows * RATINGS).astype(float).tolist(),
        "origin": ["site"] * (rows * RATINGS),
    }
    rated = builder.write("annotations", "all", crawls, ratings)
    split = [("train", "train", "train", "validation", "test")[k % 5] for k in range(rows)]
    for version in (1, 2):
        columns = {"image_id": ids, "crop_sha256": crops, "split": split, **builder.pixels(rows)}
        columns["class"] = [version] * rows
        labels = builder.write("balanced_label_table", "all", [rated, *faces], columns)
    scorer = None
    for asset in ("siamese_checkpoint", "widened_checkpoint", "finetuned_scorer"):
        scorer = builder.checkpoint(asset, labels, scorer)
    tested = [one for one, side in zip(ids, split, strict=True) if side == "test"]
    builder.write("evaluation_report", "all", [scorer, labels], {"image_id": tested})
    register(builder.store.home, scorer)
    named = {"picture": picture, "url": address, "host": "host7.example", "annotator": "person7"}
    return {**named, **files}


def picture_files(folder: Path) -> tuple[dict[str, str], dict[str, bytes]]:
    """Files that no store has the bytes of, and what pruning measures of the looks of the first.

    The second is the same picture cropped: its hash is not near, its thumbnail is. The third is another one.
    """
    import cv2

    from selfai_pipeline.pictures.settings import PruneSettings

    def drawn(seed: int) -> np.ndarray:
        coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        return cv2.resize(coarse, (300, 300), interpolation=cv2.INTER_CUBIC)

    whole = drawn(SEED)
    pictures = {"file": whole, "cropped": whole[15:285, 15:285], "unknown": drawn(SEED + 1)}
    files, looks = {}, {}
    for name, pixels in pictures.items():
        content = cv2.imencode(".png", pixels)[1].tobytes()
        path = folder / f"{name}.png"
        path.write_bytes(content)
        files[name], looks[name] = str(path), looks_of(content)
    bits = [np.frombuffer(one["perceptual_hash"], np.uint8) for one in looks.values()]
    for other in bits[1:]:
        assert np.bitwise_count(bits[0] ^ other).sum() > PruneSettings().duplicate_radius, "found by its hash"
    return files, looks["file"]


def looks_of(content: bytes) -> dict[str, bytes]:
    from selfai_pipeline.pictures.examine import examine

    seen = examine(content, image_id="", orientation=1, max_pixels=90_000)
    return {"perceptual_hash": seen.perceptual_hash, "thumbnail": seen.thumbnail}


def register(home: Any, scorer: Any) -> None:
    from resources.environments import resources_for
    from resources.tracking import Tracking
    from selfai_pipeline.environment import Environment

    tracking = resources_for(Environment.SAMPLE, home)["tracking"]
    assert isinstance(tracking, Tracking)
    tags = {"dagster.run_id": "run finetuned_scorer", "dagster.asset": "finetuned_scorer"}
    with tracking.run("finetuned_scorer", parameters={}, tags=tags) as run:
        run.register({"record.json": b"{}"}, sha256=scorer.sha256)


def seconds_of(arguments: list[str], home: Path, *, refusal: str = "") -> tuple[float, float]:
    """Seconds of the clock and of the processor, start of the process included.

    Args:
        refusal: words with which the command has to refuse; empty where it has to answer.
    """
    environment = {**os.environ, "SELFAI_HOME": str(home), "SELFAI_ENV": "sample"}
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [*COMMAND, *arguments]
    ended = subprocess.run(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if refusal not in ended.stderr or bool(refusal) != bool(ended.returncode):
        raise SystemExit(f"selfai {' '.join(arguments)} ended with {ended.returncode}:\n{ended.stderr}")
    return seconds, used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3,000 rows, three rounds")
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    rows, rounds = (3000, 3) if options.quick else (options.rows, options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        asked = build(home, rows)
        questions = {
            "audit_s": ["audit"],
            "picture_s": ["audit", "--picture", asked["picture"]],
            "picture_by_url_s": ["audit", "--picture", asked["url"]],
            "picture_by_file_s": ["audit", "--picture", asked["file"]],
            "picture_by_thumbnail_s": ["audit", "--picture", asked["cropped"]],
            "picture_unknown_s": ["audit", "--picture", asked["unknown"]],
            "host_s": ["audit", "--host", asked["host"]],
            "annotator_s": ["audit", "--annotator", asked["annotator"]],
            "import_s": ["audit", "--help"],
        }
        measured: dict[str, list[float]] = {name: [] for name in questions}
        used: dict[str, list[float]] = {name: [] for name in questions}
        for _ in range(rounds):
            for name, arguments in questions.items():
                refusal = UNKNOWN if name == "picture_unknown_s" else ""
                seconds, processor = seconds_of(arguments, home, refusal=refusal)
                measured[name].append(seconds)
                used[name].append(processor)
    figures = {name: round(statistics.median(times), 3) for name, times in measured.items()}
    print(f"{rows} rows, {rows // DAY_ROWS} days, {rows * RATINGS} ratings; {rounds} rounds, seed {SEED}")
    for name, times in measured.items():
        processor = statistics.median(used[name])
        span = f"{min(times):.2f} to {max(times):.2f}"
        print(f"{name:22} median {figures[name]:.2f} s, {span}; of the processor {processor:.2f} s")
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("pyarrow", "mlflow", "dagster")
    )
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f}, Python {platform.python_version()}, {versions}")
    print(json.dumps({**figures, "rows": rows}))


if __name__ == "__main__":
    main()
