"""A home that has been lived in: traces of every picture in every kind of file, and a search for them."""

import base64
import copy
import gzip
import hashlib
import importlib.util
import json
import re
import shutil
import sqlite3
import zipfile
import zlib
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from selfai_pipeline.home import Home
from selfai_pipeline.lineage.versions import Archive
from selfai_pipeline.removal.erase import carry_out
from selfai_pipeline.removal.plan import Plan, make_plan
from selfai_pipeline.removal.subjects import Known
from selfai_pipeline.sources.journal import open_journal
from selfai_pipeline.sources.outcomes import READ, STORED, Found, Links, Outcome
from selfai_pipeline.sources.settings import PagesSource, RatingsFile, save_sources
from selfai_pipeline.store import Store
from selfai_pipeline.tables import CHECKS

_spec = importlib.util.spec_from_file_location(
    "lineage_world", Path(__file__).parent.parent / "lineage" / "conftest.py"
)
assert _spec
assert _spec.loader
_lineage = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_lineage)
network = _lineage.network
png, World, DAYS = _lineage.png, _lineage.World, _lineage.DAYS


def url_of(number: int) -> str:
    return f"https://{'one' if number < 4 else 'two'}.example/{number}.png"


@dataclass
class LivedIn:
    """The home of a `World`, with everything around its tables."""

    world: Any
    store: Store

    @property
    def home(self) -> Home:
        return self.store.home

    def plan(self, kind: str, value: str, *, reason: str = "letter 7") -> Plan:
        known = Known(Archive(self.store))
        return make_plan(kind, value, reason=reason, known=known, registry=self.world.registry)

    def remove(self, kind: str, value: str) -> list[str]:
        """Remove something; returns what names it still. The registry of a `World` is none of MLflow's."""
        plan = self.plan(kind, value)
        plan = Plan(**{**plan.__dict__, "models": ()})
        plan.write(self.home)
        return carry_out(plan, store=self.store)

    def needles(self, number: int) -> dict[str, bytes]:
        """What must not be found any more of a picture."""
        image_id = self.world.image_id(number)
        rows = {
            row["image_id"]: row
            for day in DAYS
            for row in self.world.rows(self.world.current("pruned_set", day))
        }
        return {
            "id": image_id.encode(),
            "address": url_of(number).encode(),
            "bytes": png(number),
            "base64": base64.b64encode(png(number)),
            "crop": f"crop of {image_id}".encode(),
            "hash of the crop": hashlib.sha256(f"crop of {image_id}".encode()).hexdigest().encode(),
            "hash as it came": hashlib.sha256(b"fetched" + png(number)).hexdigest().encode(),
            "thumbnail": rows[image_id]["thumbnail"],
        }


_made: dict[str, Any] = {}
"""The home that every test gets a copy of: it takes a second to make."""


@pytest.fixture
def lived_in(network: Any, store: Store, tmp_path_factory: pytest.TempPathFactory) -> LivedIn:
    """Traces of pictures 1 to 6 in journal, files of ratings, site, caches, pages, logs and databases."""
    if not _made:
        first = Store.open(Home.at(tmp_path_factory.mktemp("lived in")).create())
        _made["world"] = _lineage.filled_world(first, network)
        _leave_traces(_made["world"], first)
        _made["home"] = first.home.root
    shutil.copytree(_made["home"], store.home.root, dirs_exist_ok=True)
    made = _made["world"]
    own = {name: copy.copy(getattr(made, name)) for name in ("used", "pictures", "registered")}
    return LivedIn(World(store, network, runs=made.runs, **own), store)


def _leave_traces(world: Any, store: Store) -> None:
    home = store.home
    ratings = "image,annotator,score\n" + "".join(
        f"{number}.png,{name},{number}\n" for number in range(1, 4) for name in ("carl", "dora")
    )
    digest = hashlib.sha256(ratings.encode()).hexdigest()[:12]
    path = home.imports / "one" / f"ratings-{digest}.csv"
    path.parent.mkdir(parents=True)
    path.write_text(ratings)
    (path.parent / "left_out.csv").write_text(
        "file,line,picture,reason,detail\nr.csv,2,1.png,contradicts,x\n"
    )
    declared = RatingsFile(path=f"imports/one/{path.name}")
    save_sources(
        home.sources_file,
        [PagesSource(name="one", start_urls=["https://start.example/"], ratings=[declared])],
    )
    with open_journal(home) as journal:
        for day, numbers in zip(DAYS, ((1, 2, 3), (4, 5, 6)), strict=True):
            source = url_of(numbers[0]).split("/")[2].split(".")[0]
            page = Found(f"https://{source}.example/", "page")
            links = Links([url_of(number) for number in numbers], []).to_json()
            journal.discover(
                source, day, [page, *(Found(url_of(one), "picture", 1) for one in numbers)], most=99
            )
            journal.record(source, day, Outcome(page, READ, "r", links=links))
            for number in numbers:
                journal.record(
                    source,
                    day,
                    Outcome(
                        Found(url_of(number), "picture", 1),
                        STORED,
                        "r",
                        image_id=world.image_id(number),
                        fetched_sha256=hashlib.sha256(b"fetched" + png(number)).hexdigest(),
                    ),
                )
    _live_site(world, store)
    _leave_files(world, store)


def _live_site(world: Any, store: Store) -> None:
    """Two annotators of the site score six faces each."""
    for day in DAYS:
        store.tables.judge(world.current("aligned_faces", day), dict.fromkeys(CHECKS, True))
    for name in ("ann", "bob"):
        world.rate_on_site(name, *range(6))


def _leave_files(world: Any, store: Store) -> None:
    """Caches, pages, logs and the databases of Dagster and MLflow."""
    home = store.home
    labels, evaluation = world.current("balanced_label_table"), world.current("evaluation_report")
    report = home.reports / evaluation.sha256
    report.mkdir(parents=True)
    pictures = "".join(
        f'<img src="data:image/png;base64,{base64.b64encode(png(number)).decode()}">'
        for number in range(1, 7)
    )
    (report / "report.html").write_text(f"<html>{pictures}</html>")
    (report / "report.json").write_text("{}")
    pixels = home.cache / "pixels" / f"{labels.sha256}-32-0.7-planes.npy"
    everything = b"".join(png(number) for number in range(1, 7))
    for file in (
        pixels,
        home.cache / "recovery" / "siamese_checkpoint-1.2.pt",
        home.cache / "ablations" / "arm-1.json",
        home.root / "tables" / "raw_crawl" / DAYS[0] / f"x.parquet.{'5e' * 16}.part",
        *(home.previews / asset / f"{DAYS[0]}.jpg" for asset in ("raw_crawl", "pruned_set")),
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(everything)
    copies = home.cache / "copies" / "1-12-0.97.npz"
    copies.parent.mkdir(parents=True)
    np.savez(copies, digests=np.frombuffer(everything, np.uint8))
    said = [f"{world.image_id(number)} of {url_of(number)} not found" for number in range(1, 7)]
    log = home.dagster / "storage" / "run-1" / "compute_logs" / "a.err"
    log.parent.mkdir(parents=True)
    # A page that was no UTF-8 has left an odd byte.
    log.write_bytes("\n".join(said).encode() + b"\n\xff\n")
    for path in (home.dagster / "history" / "runs.db", home.mlflow / "mlflow.db"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, event TEXT)")
            connection.executemany(
                "INSERT INTO events (event) VALUES (?)",
                # As Dagster keeps the message of an error, which ends with its line.
                [(json.dumps({"error": f"{text}\n{text.split()[2]}\n"}),) for text in said * 20],
            )
            # As Dagster keeps the snapshot of a job.
            connection.execute("CREATE TABLE snapshots (id TEXT PRIMARY KEY, body BLOB)")
            connection.executemany(
                "INSERT INTO snapshots VALUES (?, ?)",
                [(text[:8], zlib.compress(json.dumps([text]).encode())) for text in said],
            )
            # What was deleted stays in free pages.
            connection.execute("DELETE FROM events WHERE id > 60")
            connection.commit()


def found_in(root: Path, needles: Iterable[bytes]) -> set[str]:
    """Every file below `root` that holds any of the needles: as it is, unpacked, or decoded."""
    wanted = list(needles)
    return {
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file()
        and any(
            needle in content for content in (path.as_posix().encode(), *_contents(path)) for needle in wanted
        )
    }


def _contents(path: Path) -> Iterable[bytes]:
    content = path.read_bytes()
    yield content
    if path.suffix == ".gz":
        yield gzip.decompress(content)
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            yield from (archive.read(name) for name in archive.namelist())
    if content[:4] == b"PAR1":
        table = pq.read_table(pa.BufferReader(content))
        yield repr(table.schema.metadata).encode()
        for column in table.columns:
            for value in column.to_pylist():
                yield value if isinstance(value, bytes) else str(value).encode()
    if content.startswith(b"SQLite format 3"):
        yield from _packed_cells(path)
    for encoded in re.findall(rb"base64,([A-Za-z0-9+/=]+)", content):
        # A database may break it off at the end of a page.
        whole = encoded.rstrip(b"=")
        yield base64.b64decode(whole[: len(whole) // 4 * 4])


def _packed_cells(path: Path) -> Iterable[bytes]:
    """Unpacked; read without a log of its own, which would be one more file."""
    with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                for cell in row:
                    if isinstance(cell, bytes):
                        with suppress(zlib.error):
                            yield zlib.decompress(cell)


@pytest.fixture
def search() -> Callable[[Path, Iterable[bytes]], set[str]]:
    return found_in
