"""The label stage on 30,000 pictures with five ratings each: seconds from a file to checked labels.

A crowd of 300 simulated annotators scores pictures whose true scores are known, with planted biases (standard
deviation 0.6 points) and inconsistencies (0.5 to 1.5 points), in whole points from 0 to 9, as people do; the
ends of the scale cut what lies beyond. One in a hundred annotators scores at random. The pictures' thumbnails
are normal combinations of those of rendered portraits, so that as many pairs hash alike by chance as among
photographed faces in one framing. Crops are files of a few bytes: the stage asks whether they are there, and
opens none.

Timed are the functions that the assets call, one after the other in one process: `collect_annotations` and
its checks, `build_label_table`, its plot, and its checks. How long the search for near-duplicates takes is
shown beside them. Pairs that pruning has compared, those of one day, are not searched again. By default all
pictures are of one day, as an imported folder is. With --days N they are of N days, and every fiftieth is a
crop of one of the day before: the label table of all days but the last is made first, which searches their
pairs (`seconds_before`), and then the stage is timed as it runs the night after. `again` is the label table
once more, as it is made when ratings came in and no face did.

    python benchmarks/labels.py [--quick] [--pictures 30000] [--days 1]

Prints a table and, as its last line, one JSON object: `seconds_150k_ratings` (all of it; at a smaller n with
--quick), `bias_error` (root mean square of estimated less planted biases, in points, annotators with signal),
`ceiling_error` (noise ceiling less the correlation that the true scores reach), and with them n, seed,
hardware and versions.
"""

import argparse
import csv
import hashlib
import importlib.metadata
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from selfai_pipeline.environment import usable_cores

SEED = 20261129
FIRST_DAY = date(2026, 1, 1)
A_PICTURE = 5
PORTRAITS = 120
ANNOTATORS = 300
BIAS, INCONSISTENCY = 0.6, (0.5, 1.5)
CARELESS = 0.01
COPY_EVERY = 50
ALIKE = 0.55
"""How far pictures differ, beside portraits: three of 10,000 pairs are then verified, as among the faces of
SCUT-FBP5500."""

Numbers = np.ndarray[Any, np.dtype[Any]]


def portraits() -> Numbers:
    """Lumas of rendered portraits, uint8 [portraits, 96, 96]."""
    from selfai_pipeline.sources.gallery.attributes import draw_portrait_attributes
    from selfai_pipeline.sources.gallery.portraits import render_portrait

    generator = np.random.default_rng(SEED)
    lumas = []
    for _ in range(PORTRAITS):
        drawn = render_portrait(draw_portrait_attributes(generator), typical_side=240).pixels
        luma = cv2.cvtColor(np.asarray(drawn, dtype=np.uint8), cv2.COLOR_RGB2GRAY)
        lumas.append(cv2.resize(luma, (96, 96), interpolation=cv2.INTER_AREA))
    return np.stack(lumas)


def thumbnails(pictures: int, *, with_copies: bool) -> Numbers:
    """Thumbnails of different faces, uint8 [pictures, 64, 64], or with a cropped copy here and there."""
    from selfai_pipeline.pictures.measures import thumbnail_of

    generator = np.random.default_rng(SEED)
    basis = portraits().reshape(PORTRAITS, -1).astype(np.float32)
    mean, found = basis.mean(axis=0), []
    differences = basis - mean
    before = np.zeros((96, 96), dtype=np.uint8)
    for index in range(pictures):
        mixture = generator.normal(0, ALIKE / np.sqrt(PORTRAITS), PORTRAITS).astype(np.float32)
        picture = np.clip(mean + mixture @ differences, 0, 255).astype(np.uint8).reshape(96, 96)
        if with_copies and index % COPY_EVERY == 1:
            picture = np.ascontiguousarray(before[5:, :-5])
        found.append(thumbnail_of(picture))
        before = picture
    return np.stack(found)


def make_upstream(store: Any, pictures: int, days: int) -> tuple[Any, Any]:
    """Days of raw_crawl and of aligned_faces, with so many pictures in all; pruned by the usual rule."""
    from selfai_pipeline.pictures.perceptual_hash import perceptual_hash
    from selfai_pipeline.pictures.settings import PruneSettings
    from selfai_pipeline.schemas import ALIGNED_FACES, RAW_CRAWL
    from selfai_pipeline.tables import Record, Snapshot

    squares = thumbnails(pictures, with_copies=days > 1)
    both = {"source": "crowd", "reason": None}
    refs: dict[str, dict[str, Any]] = {"raw_crawl": {}, "aligned_faces": {}}
    for number in range(days):
        day = str(FIRST_DAY + timedelta(days=number))
        mine = range(number, pictures, days)
        crops = {index: f"crop {index}".encode() for index in mine}
        hashes = {index: hashlib.sha256(crop).hexdigest() for index, crop in crops.items()}
        for start in range(0, len(mine), 500):
            store.crops.put_all({hashes[index]: crops[index] for index in mine[start : start + 500]})
        crawl = [
            {
                **dict.fromkeys(RAW_CRAWL.names),
                **both,
                "image_id": image_id_of(index),
                "url": f"file:{index}.jpg",
                "fetched_at": datetime(2026, 1, 1, tzinfo=UTC),
                "status": "stored",
                "attributes": json.dumps({"name": f"{index}.jpg"}),
            }
            for index in mine
        ]
        faces = [
            {
                **dict.fromkeys(ALIGNED_FACES.names),
                **both,
                "image_id": image_id_of(index),
                "face": 0,
                "url": f"file:{index}.jpg",
                "faces_found": 1,
                "crop_sha256": hashes[index],
                "perceptual_hash": perceptual_hash(squares[index]),
                "thumbnail": squares[index].tobytes(),
            }
            for index in mine
        ]
        kept = store.tables.write([], asset="pruned_set", partition=day)
        rule = PruneSettings().model_dump(mode="json")
        store.tables.point(Record(ref=kept, code_version="", settings=rule, inputs={}))
        for asset, rows in (("raw_crawl", crawl), ("aligned_faces", faces)):
            refs[asset][day] = store.tables.write(rows, asset=asset, partition=day)
            inputs = {"pruned_set": {day: kept.sha256}}
            store.tables.point(Record(ref=refs[asset][day], code_version="", settings={}, inputs=inputs))
    return Snapshot(refs["raw_crawl"]), Snapshot(refs["aligned_faces"])


def image_id_of(index: int) -> str:
    return hashlib.sha256(f"picture {index}".encode()).hexdigest()


def write_ratings(path: Path, pictures: int) -> tuple[Numbers, Numbers, Numbers]:
    """Ratings of a simulated crowd as a CSV; returns the true scores, the biases and who is careless."""
    generator = np.random.default_rng(SEED)
    truth = np.clip(generator.normal(4.5, 1.4, pictures), 0, 9)
    bias = generator.normal(0, BIAS, ANNOTATORS)
    inconsistency = generator.uniform(*INCONSISTENCY, ANNOTATORS)
    careless = np.arange(ANNOTATORS) < CARELESS * ANNOTATORS
    with path.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["image", "annotator", "score", "device"])
        for picture in range(pictures):
            for who in generator.choice(ANNOTATORS, A_PICTURE, replace=False).tolist():
                felt = truth[picture] + bias[who] + inconsistency[who] * generator.normal()
                score = generator.integers(10) if careless[who] else np.clip(round(felt), 0, 9)
                lines.writerow([f"{picture}.jpg", f"a{who:03}", int(score), "phone" if who % 2 else "desk"])
    return truth, bias, careless


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - began


def watch_the_search(seconds: dict[str, float]) -> None:
    """Time the search for near-duplicates inside the label table as well."""
    from selfai_pipeline.labels import splits

    search = splits.groups_of_copies

    def watched(*positional: Any, **named: Any) -> Any:
        with timed(seconds, "of which near-duplicates"):
            return search(*positional, **named)

    splits.groups_of_copies = watched


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the pictures")
    parser.add_argument("--pictures", type=int, default=30_000)
    parser.add_argument("--days", type=int, default=1)
    options = parser.parse_args()
    pictures = options.pictures // 10 if options.quick else options.pictures

    from assets.annotations import rating_verdicts
    from assets.balanced_label_table import label_verdicts
    from selfai_pipeline.home import Home
    from selfai_pipeline.labels.annotations import collect_annotations
    from selfai_pipeline.labels.figures import write_distributions
    from selfai_pipeline.labels.label_table import build_label_table
    from selfai_pipeline.labels.settings import LabelSettings
    from selfai_pipeline.sources.settings import FolderSource, RatingsFile
    from selfai_pipeline.store import Store
    from selfai_pipeline.tables import Record, Snapshot

    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(Home.at(folder).create())
        crawl, faces = make_upstream(store, pictures, options.days)
        file = Path(folder) / "ratings.csv"
        truth, bias, careless = write_ratings(file, pictures)
        declared = FolderSource(
            name="crowd", path=folder, day=str(FIRST_DAY), ratings=[RatingsFile(path=str(file))]
        )
        settings = LabelSettings()
        seconds: dict[str, float] = {}
        watch_the_search(seconds)
        before: dict[str, float] = {}
        if options.days > 1:
            rated = collect_annotations(crawl, sources=[declared], store=store)
            with timed(before, "label table of the days before"):
                earlier = Snapshot(dict(list(faces.refs.items())[:-1]))
                build_label_table(rated, earlier, store=store, settings=settings)
        seconds.clear()
        with timed(seconds, "annotations"):
            rated = collect_annotations(crawl, sources=[declared], store=store)
        store.tables.point(Record(ref=rated, code_version="", settings={}, inputs={}))
        with timed(seconds, "checks of annotations"):
            verdicts = list(rating_verdicts(rated, store))
        with timed(seconds, "label table"):
            labels = build_label_table(rated, faces, store=store, settings=settings)
        with timed(seconds, "plot"):
            write_distributions(labels, store=store, path=store.home.previews / "plot.png")
        inputs = {one.asset: one.hashes for one in (Snapshot({"all": rated}), faces)}
        record = Record(ref=labels, code_version="", settings=settings.model_dump(mode="json"), inputs=inputs)
        store.tables.point(record)
        with timed(seconds, "checks of the label table"):
            verdicts += label_verdicts(labels, store)
        first = dict(seconds)
        total = sum(taken for name, taken in first.items() if not name.startswith("of which"))
        with timed(again := {}, "again"):
            build_label_table(rated, faces, store=store, settings=settings)
        failed = [str(one.check_name) for one in verdicts if not one.passed]
        facts, table = store.tables.facts(labels), store.tables.read(labels, ["image_id", "score", "cluster"])
        bias_error = biases_beside(store, rated, bias, careless)

    for name, taken in {**before, **first, "all of it": total, "label table again": again["again"]}.items():
        print(f"{name:28}{taken:9.2f} s")
    clusters = len(set(table["cluster"].to_pylist()))
    print(f"{facts['flagged']}; {clusters} clusters of {table.num_rows}; checks that did not pass: {failed}")
    place = {image_id_of(index): index for index in range(pictures)}
    reached = np.corrcoef(
        truth[[place[one] for one in table["image_id"].to_pylist()]], table["score"].to_numpy()
    )[0, 1]
    print(f"noise ceiling {facts['noise_ceiling']:.4f}, the true scores reach {reached:.4f}")
    libraries = ("numpy", "scipy", "pyarrow", "faiss-cpu")
    print(
        json.dumps(
            {
                "seconds_150k_ratings": round(total, 2),
                "bias_error": round(bias_error, 4),
                "ceiling_error": round(facts["noise_ceiling"] - float(reached), 4),
                "seconds_again": round(again["again"], 2),
                "seconds_before": {name: round(taken, 2) for name, taken in before.items()},
                "seconds": {name: round(taken, 2) for name, taken in first.items()},
                "n": {
                    "pictures": pictures,
                    "days": options.days,
                    "ratings": facts["ratings"],
                    "annotators": ANNOTATORS,
                },
                "seeds": [SEED],
                "hardware": f"{platform.machine()}, {usable_cores()} cores, load {os.getloadavg()[0]:.1f}",
                "versions": {
                    "python": platform.python_version(),
                    **{name: importlib.metadata.version(name) for name in libraries},
                },
            }
        )
    )


def biases_beside(store: Any, rated: Any, bias: Numbers, careless: Numbers) -> float:
    """How far the rating model's biases are from the planted ones, each less its mean: RMS in points."""
    from selfai_pipeline.labels.rating_model import fit_rating_model

    table = store.tables.read(rated, ["image_id", "annotator", "score"])
    _, picture = np.unique(table["image_id"].to_pylist(), return_inverse=True)
    _, annotator = np.unique(table["annotator"].to_pylist(), return_inverse=True)
    found = fit_rating_model(picture, annotator, table["score"].to_numpy()).bias
    off = (found - bias)[~careless]
    return float(np.std(off))


if __name__ == "__main__":
    main()
