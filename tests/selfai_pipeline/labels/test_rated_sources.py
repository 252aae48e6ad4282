"""Ratings find their pictures whatever kind of source these come from."""

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import fsspec
import numpy as np
import pytest

from selfai_pipeline.labels.annotations import collect_annotations
from selfai_pipeline.sources.crawl import crawl_day
from selfai_pipeline.sources.settings import (
    CrawlSettings,
    FolderSource,
    RatingsFile,
    Source,
    UrlListSource,
)
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Snapshot

DAY = "2026-01-01"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def pictures() -> dict[str, bytes]:
    """Two pictures by their paths."""
    shades = {"one/a.png": 40, "two/b 1.png": 200}
    return {
        name: cv2.imencode(".png", np.full((40, 40, 3), shade, np.uint8))[1].tobytes()
        for name, shade in shades.items()
    }


@pytest.fixture
def served(tmp_path: Path, pictures: dict[str, bytes]) -> Iterator[str]:
    """A site on loopback with the pictures; its host and port."""
    for name, content in pictures.items():
        path = tmp_path / "site" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    handler = functools.partial(Quiet, directory=str(tmp_path / "site"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def rated(source: Source, names: list[str], store: Store) -> list[float]:
    """Scores of the ratings of a crawled source that found their pictures."""
    path = store.home.imports / "ratings.csv"
    lines = [f"{name},ann,{score}" for score, name in enumerate(names)]
    path.write_text("\n".join(["image,annotator,score", *lines]))
    settings = CrawlSettings(requests_per_second=1000, retries=0, timeout_s=5)
    crawl = crawl_day(DAY, sources=[source], store=store, settings=settings)
    ref = collect_annotations(Snapshot({DAY: crawl}), sources=[source], store=store)
    scores: list[float] = sorted(store.tables.read(ref, ["score"]).column(0).to_pylist())
    return scores


RATINGS = [RatingsFile(path="imports/ratings.csv")]


def test_pictures_of_a_list_go_by_the_last_part_of_their_address_or_more_of_it(
    store: Store, served: str
) -> None:
    urls = [f"http://{served}/one/a.png", f"http://{served}/two/b%201.png?size=large"]
    (store.home.root / "list.csv").write_text(
        "\n".join(["url,date,name", *(f"{url},{DAY},Ann" for url in urls)])
    )
    source = UrlListSource(
        name="listed", path="list.csv", date_column="date", allowed_addresses=[served], ratings=RATINGS
    )
    assert rated(source, ["a.png", "b 1.png", "Ann"], store) == [0, 1]
    assert rated(source, ["one/a.png", urls[1], f"{served}/one/a.png", "one/c.png"], store) == [0, 1, 2]


def test_pictures_of_a_folder_in_an_object_store_go_by_their_path_in_it(
    store: Store, tmp_path: Path, pictures: dict[str, bytes]
) -> None:
    memory = fsspec.filesystem("memory")
    for name, content in pictures.items():
        memory.pipe_file(f"/rated-{tmp_path.name}/{name}", content)
    source = FolderSource(name="stored", path=f"memory://rated-{tmp_path.name}", day=DAY, ratings=RATINGS)
    assert rated(source, ["one/a.png", "b 1.png", "two/b 1.png", "two/a.png"], store) == [0, 1, 2]
    memory.rm(f"/rated-{tmp_path.name}", recursive=True)
