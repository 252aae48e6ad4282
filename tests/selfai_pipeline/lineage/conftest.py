"""A graph written by hand through the real stores: what each stage would hand on, with its record."""

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from selfai_pipeline.labels.annotations import collect_annotations, ratings_fingerprint
from selfai_pipeline.labels.site.answering import give_score
from selfai_pipeline.labels.site.assigning import next_assignment
from selfai_pipeline.labels.site.database import SiteDatabase, people
from selfai_pipeline.labels.site.faces import current_faces, take_in_faces
from selfai_pipeline.labels.site.people import invite
from selfai_pipeline.labels.site.ratings import site_fingerprint, site_ratings
from selfai_pipeline.labels.site.settings import SiteSettings
from selfai_pipeline.labels.site.tokens import load_key
from selfai_pipeline.lineage.registry import RegisteredVersion, Registry
from selfai_pipeline.lineage.versions import Archive, VersionKey
from selfai_pipeline.networks.network import Network
from selfai_pipeline.networks.stages import tiny_darknet
from selfai_pipeline.pictures.examine import examine
from selfai_pipeline.schemas import TABLES
from selfai_pipeline.sources.fingerprints import crawl_fingerprints, rating_declarations_fingerprint
from selfai_pipeline.sources.settings import FolderSource, RatingsFile, Source, UrlListSource, save_sources
from selfai_pipeline.store import Store
from selfai_pipeline.tables import CHECKS, WHOLE, CheckpointRef, Record, Ref, TableRef
from selfai_pipeline.training.checkpoints import checkpoint_files, save_checkpoint

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = ("2026-01-01", "2026-01-02")
FOLDER_DAY = "2026-01-03"


def key_of(ref: Ref) -> VersionKey:
    return VersionKey(ref.asset, ref.partition, ref.sha256)


@lru_cache
def png(number: int) -> bytes:
    """A smooth picture of its own that is far from every other."""
    coarse = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    picture = cv2.resize(coarse, (96, 96), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".png", picture)[1].tobytes()


@dataclass
class World:
    """Stages that hand versions on; each stage reads the current versions of those before it.

    `used` and `pictures` are the truth that audits are held against: the versions that each version was made
    from, and the pictures in it.
    """

    store: Store
    network: Network
    used: dict[VersionKey, set[VersionKey]] = field(default_factory=dict)
    pictures: dict[VersionKey, set[str]] = field(default_factory=dict)
    registered: list[RegisteredVersion] = field(default_factory=list)
    runs: int = 0

    @property
    def archive(self) -> Archive:
        return Archive(self.store)

    @property
    def registry(self) -> Registry:
        return Registry(tuple(self.registered))

    def current(self, asset: str, partition: str = WHOLE) -> Ref:
        record = self.store.tables.current(asset, partition)
        assert record is not None
        return record.ref

    def upstream(self, ref: Ref) -> set[VersionKey]:
        return self.upstream_of(key_of(ref))

    def upstream_of(self, key: VersionKey) -> set[VersionKey]:
        """The version and everything that it was made from, over all steps."""
        found, waiting = set(), [key]
        while waiting:
            one = waiting.pop()
            if one not in found:
                found.add(one)
                waiting += self.used.get(one, ())
        return found

    def point(self, ref: Ref, inputs: Iterable[Ref], **more: Any) -> None:
        hashes: dict[str, dict[str, str]] = {}
        for one in inputs:
            hashes.setdefault(one.asset, {})[one.partition] = one.sha256
            self.used.setdefault(key_of(ref), set()).add(key_of(one))
        self.runs += 1
        settings = more.pop("settings", {})
        self.store.tables.point(
            Record(ref, "1", settings, hashes, run_id=f"run-{self.runs}", external=more.pop("external", {}))
        )

    def write(
        self, rows: Sequence[Mapping[str, Any]], asset: str, partition: str, inputs: Iterable[Ref]
    ) -> TableRef:
        """Rows with a value in the columns that are given; null, or nothing of its kind, in the others."""
        empty = {"string": "", "int64": 0, "double": 0.0, "bool": False, "timestamp[us, tz=UTC]": MOMENT}
        whole = [
            {
                column.name: row.get(column.name, None if column.nullable else empty[str(column.type)])
                for column in TABLES[asset]
            }
            for row in rows
        ]
        ref = self.store.tables.write(whole, asset=asset, partition=partition)
        self.pictures[key_of(ref)] = {row["image_id"] for row in rows}
        self.point(ref, inputs)
        return ref

    @staticmethod
    def image_id(number: int) -> str:
        return hashlib.sha256(png(number)).hexdigest()

    def crawl(self, day: str, pictures: Mapping[int, str]) -> TableRef:
        """Pictures by number, and the address of each; the source is the first part of its host.

        A file of the folder of the source `one` has the address `file:NAME`.
        """
        rows = [
            {
                "image_id": self.store.pictures.put(png(number)),
                "url": url,
                "source": "one" if url.startswith("file:") else url.split("/")[2].split(".")[0],
                "fetched_sha256": self.image_id(number) if url.startswith("file:") else None,
                "status": "stored",
                "licence": "CC0-1.0",
                "attributes": "{}",
            }
            for number, url in pictures.items()
        ]
        return self.write(rows, "raw_crawl", day, ())

    def prune(self, day: str) -> TableRef:
        crawl = self.current("raw_crawl", day)
        rows = []
        for row in self.rows(crawl):
            found = examine(
                self.store.pictures.get(row["image_id"]),
                image_id=row["image_id"],
                orientation=1,
                max_pixels=10_000,
            )
            rows.append({**row, "kept": True, "orientation": 1, **found.columns()})
        return self.write(rows, "pruned_set", day, [crawl])

    def align(self, day: str) -> TableRef:
        pruned = self.current("pruned_set", day)
        rows = [
            {**row, "face": 0, "crop_sha256": self.store.crops.put(f"crop of {row['image_id']}".encode())}
            for row in self.rows(pruned)
        ]
        return self.write(rows, "aligned_faces", day, [pruned])

    def rate(self, ratings: Iterable[tuple[int, str, float]]) -> TableRef:
        """Ratings as (number of the picture, annotator, score)."""
        days = self.store.tables.snapshot("raw_crawl")
        rows = [
            {
                "image_id": self.image_id(number),
                "annotator": annotator,
                "score": score,
                "ratings": 1,
                "origin": f"{annotator.split('/')[0]}:ratings.csv",
                "original_score": score,
                "attributes": "{}",
            }
            for number, annotator, score in ratings
        ]
        return self.write(rows, "annotations", WHOLE, days.refs.values())

    def label(self, splits: Mapping[int, str]) -> TableRef:
        """The rated pictures with a face, in the split that their number has (default: train)."""
        faces = self.store.tables.snapshot("aligned_faces")
        ratings = self.current("annotations")
        rated = self.rows(ratings)
        scores = {row["image_id"]: row["score"] for row in rated}
        annotators = Counter(row["image_id"] for row in rated)
        numbers = {self.image_id(number): split for number, split in splits.items()}
        rows = {
            row["image_id"]: {
                **row,
                "partition": day,
                "score": scores[row["image_id"]],
                "annotators": annotators[row["image_id"]],
                "split": numbers.get(row["image_id"], "train"),
                "cluster": row["image_id"],
                "attributes": "{}",
            }
            for day, ref in faces.tables.items()
            for row in self.rows(ref)
            if row["image_id"] in scores
        }
        inputs = [ratings, *faces.refs.values()]
        return self.write(list(rows.values()), "balanced_label_table", WHOLE, inputs)

    def rate_on_site(self, name: str, *scores: int) -> None:
        """Invite somebody to the annotation site, who gives the faces that are shown first these scores."""
        settings = SiteSettings(gold_share=0, repeat_share=0)
        with SiteDatabase(self.store.home.annotations_url) as database:
            take_in_faces(database, current_faces(self.store), store=self.store, settings=settings)
            invite(database, name, key=load_key(self.store.home.annotations_key))
            with database.reading() as connection:
                (number,) = connection.scalars(people.select().where(people.c.name == name))
            for score in scores:
                shown = next_assignment(database, number, settings=settings, generator=random.Random(0))
                assert shown is not None
                give_score(database, number, shown.token, score)

    def collect(self, sources: Sequence[Source]) -> TableRef:
        """The ratings of files and site as the asset makes them; the labels stand on these as well."""
        home, crawls = self.store.home, self.store.tables.snapshot("raw_crawl")
        said = site_ratings(home) or []
        external = {
            "ratings": ratings_fingerprint(list(sources), home),
            "declarations": rating_declarations_fingerprint(sources),
            "site": site_fingerprint(said),
        }
        ref = collect_annotations(crawls, sources=list(sources), store=self.store, from_site=said)
        self.point(ref, crawls.refs.values(), external=external)
        self.point(self.current("balanced_label_table"), [ref])
        return ref

    def train(self, asset: str, *parents: str, labelled: bool = True, seed: int = 0) -> CheckpointRef:
        """A checkpoint made from the current versions of `parents` and, as a rule, of the labels.

        The same with another seed is another checkpoint.
        """
        labels = self.current("balanced_label_table")
        inputs = [self.current(parent) for parent in parents]
        own = {"labels": labels.sha256} if labelled else {}
        own |= {"parent": inputs[0].sha256} if inputs else {}
        record: dict[str, Any] = {"input_size": 32, "settings": {"seed": seed}, "inputs": own}
        record |= {"metrics": {}, "history": [], "growth": []}
        ref = save_checkpoint(self.network, asset=asset, record=record, rows=labels.rows, store=self.store)
        self.point(ref, [*inputs, labels] if labelled else inputs, settings={"epochs": 3})
        return ref

    def train_all(self, *, seed: int = 0) -> CheckpointRef:
        self.train("siamese_checkpoint", seed=seed)
        self.train("widened_checkpoint", "siamese_checkpoint", labelled=False)
        return self.train("finetuned_scorer", "widened_checkpoint", seed=seed)

    def register(self, *aliases: str) -> RegisteredVersion:
        sha256 = self.current("finetuned_scorer").sha256
        number = len(self.registered) + 1
        version = RegisteredVersion("selfai-scorer", number, aliases, sha256, f"mlflow-{number}", "")
        self.registered.append(version)
        return version

    def rows(self, ref: Ref) -> list[dict[str, Any]]:
        assert isinstance(ref, TableRef)
        return self.store.tables.read(ref).to_pylist()


@pytest.fixture(scope="session")
def network() -> Network:
    torch.manual_seed(0)
    return Network(tiny_darknet(0.12))


@pytest.fixture
def make_world(network: Network) -> Callable[[Store], World]:
    return lambda store: World(store, network)


@pytest.fixture
def world(store: Store, network: Network) -> World:
    return filled_world(store, network)


def filled_world(store: Store, network: Network) -> World:
    """Two days of three pictures, two annotators, a scorer and its report; registered as champion."""
    world = World(store, network)
    world.crawl(DAYS[0], {number: f"https://one.example/{number}.png" for number in (1, 2, 3)})
    world.crawl(DAYS[1], {number: f"https://two.example/{number}.png" for number in (4, 5, 6)})
    for day in DAYS:
        world.prune(day)
        world.align(day)
    world.rate([(number, f"site/{name}", float(number)) for number in range(1, 7) for name in ("ann", "bob")])
    world.label({2: "validation", 3: "test", 6: "test"})
    scorer = world.train_all()
    tested = [row for row in world.rows(world.current("balanced_label_table")) if row["split"] == "test"]
    world.write(tested, "evaluation_report", WHOLE, [scorer, world.current("balanced_label_table")])
    world.register("champion")
    return world


@pytest.fixture
def whole(world: World, tmp_path: Path) -> World:
    """The world with a registered copy of the scorer, and what it was made from outside of the graph.

    A third day came from a folder and a list; the current ratings from files and from the annotation site.
    """
    store, home = world.store, world.store.home
    folder = tmp_path / "artifacts"
    folder.mkdir()
    for name, content in checkpoint_files(world.current("finetuned_scorer"), store=store).items():
        (folder / name).write_bytes(content)
    world.registered = [replace(one, source=folder.as_uri()) for one in world.registered]
    ratings = b"image,annotator,score\n1.png,ann,1\n"
    imports = home.imports / "one"
    imports.mkdir(parents=True)
    (imports / f"ratings-{hashlib.sha256(ratings).hexdigest()[:12]}.csv").write_bytes(ratings)
    declared, faces, listed = tmp_path / "declared.csv", tmp_path / "faces", tmp_path / "list.csv"
    declared.write_bytes(ratings)
    listed.write_text("url,date\n")
    faces.mkdir()
    (faces / "7.png").write_bytes(png(7))
    sources = [
        FolderSource(name="one", path=str(faces), day=FOLDER_DAY, ratings=[RatingsFile(path=str(declared))]),
        UrlListSource(name="listed", path=str(listed), date_column="date"),
    ]
    save_sources(home.sources_file, sources)
    crawl = world.crawl(FOLDER_DAY, {7: "file:7.png"})
    world.point(crawl, (), external=crawl_fingerprints(FOLDER_DAY, sources=sources, home=home))
    for day in DAYS:
        store.tables.judge(world.current("aligned_faces", day), dict.fromkeys(CHECKS, True))
    world.rate_on_site("ann", 3)
    world.collect(sources)
    return world
