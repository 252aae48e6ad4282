"""What was imported can be removed before any run has read it, and where no run ever uses it."""

import datetime
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from selfai_pipeline.errors import InputError
from selfai_pipeline.labels.annotations import collect_annotations
from selfai_pipeline.labels.importing import import_folder
from selfai_pipeline.lineage.registry import Registry
from selfai_pipeline.lineage.versions import Archive
from selfai_pipeline.removal.erase import carry_out
from selfai_pipeline.removal.plan import Plan, make_plan
from selfai_pipeline.removal.subjects import Known
from selfai_pipeline.sources.crawl import crawl_day
from selfai_pipeline.sources.settings import (
    CrawlSettings,
    PicturesFile,
    RatingsFile,
    UrlListSource,
    load_sources,
    save_sources,
)
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Record

DAY = "2026-02-01"
Search = Callable[[Path, Iterable[bytes]], set[str]]


@pytest.fixture
def photos(tmp_path: Path, store: Store) -> Path:
    """A folder of three pictures that was imported, and no run since."""
    folder = tmp_path / "photos"
    (folder / "old").mkdir(parents=True)
    for number, name in enumerate(("a.png", "b.png", "old/c.png")):
        pixels = np.random.default_rng(number).integers(0, 255, (90, 80, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / name), pixels)
    ratings = tmp_path / "r.csv"
    rows = ["a.png,zoe,1", "b.png,yan,2", "c.png,zoe,3", "c.png,yan,3", "gone.png,xia,4"]
    ratings.write_text("\n".join(["image,annotator,score", *rows, "https://x.example/1.png,yan,5"]))
    pictures = tmp_path / "p.csv"
    rows = ["a.png,Joan Doe", "c.png,Jane Roe", "gone.png,Jane Roe", "https://x.example/1.png,Joan Doe"]
    pictures.write_text("\n".join(["image,person", *rows]))
    import_folder(folder, home=store.home, day=DAY, ratings=ratings, pictures=pictures)
    return folder


def plan_for(store: Store, kind: str, value: str) -> Plan:
    return make_plan(kind, value, reason="letter 7", known=Known(Archive(store)), registry=Registry())


def remove(store: Store, kind: str, value: str) -> list[str]:
    plan = plan_for(store, kind, value)
    plan.write(store.home)
    return carry_out(plan, store=store)


def crawled(store: Store) -> list[str]:
    ref = crawl_day(DAY, sources=load_sources(store.home.sources_file), store=store, settings=CrawlSettings())
    store.tables.point(Record(ref, "2", {}, {}))
    return [row["url"] for row in store.tables.read(ref).to_pylist() if row["status"] == "stored"]


@pytest.mark.parametrize("name", ["zoe", "photos/zoe", "xia"])
def test_an_annotator_of_an_imported_file_that_no_run_has_read(
    photos: Path, store: Store, search: Search, name: str
) -> None:
    """`xia` has rated nothing but a picture that there is not."""
    needle = name.removeprefix("photos/").encode()
    assert search(store.home.root, [needle])
    assert remove(store, "annotator", name) == []
    assert search(store.home.root, [needle]) == set()
    assert search(store.home.imports, [b"yan"])
    with pytest.raises(InputError, match="it was removed on"):
        plan_for(store, "annotator", "photos/" + needle.decode())


def test_a_person_of_an_imported_file_that_no_run_has_read(
    photos: Path, store: Store, search: Search
) -> None:
    assert remove(store, "person", "Jane Roe") == [str(photos / "old" / "c.png")]
    assert search(store.home.root, [b"Jane Roe", b"c.png", b"gone.png"]) == set()
    assert search(store.home.imports, [b"Joan Doe"])
    assert crawled(store) == ["file:a.png", "file:b.png"]
    (photos / "old" / "c.png").rename(photos / "d.png")
    assert crawled(store) == ["file:a.png", "file:b.png"]


def test_a_person_whose_pictures_are_stored_and_not_rated(photos: Path, store: Store) -> None:
    """No table names them: the file alone does."""
    crawled(store)
    plan = plan_for(store, "person", "Joan Doe")
    assert len(plan.subjects.image_ids) == 1
    assert plan.subjects.persons == {"photos/Joan Doe"}
    assert "file:a.png" in {one.rpartition("/")[2] for one in plan.subjects.paths}
    assert "https://x.example/1.png" in plan.subjects.urls


@pytest.mark.parametrize(("kind", "value"), [("url", "https://x.example/1.png"), ("host", "x.example")])
def test_an_address_that_only_an_imported_file_names(
    photos: Path, store: Store, search: Search, kind: str, value: str
) -> None:
    assert remove(store, kind, value) == []
    assert search(store.home.root, [b"x.example"]) == set()


@pytest.mark.parametrize(("kind", "value"), [("url", "https://y.example/2.html"), ("host", "y.example")])
def test_an_address_that_only_a_further_cell_names(
    photos: Path, store: Store, search: Search, tmp_path: Path, kind: str, value: str
) -> None:
    described = tmp_path / "p.csv"
    described.write_text('image,page\na.png,"from https://y.example/2.html, I think"\n')
    import_folder(photos, home=store.home, day=DAY, pictures=described)
    assert remove(store, kind, value) == []
    assert search(store.home.root, [b"y.example"]) == set()
    assert search(store.home.imports, [b'a.png,"from [removed], I think"'])


def test_an_annotator_of_an_export_whose_annotations_were_cancelled(
    photos: Path, store: Store, search: Search, tmp_path: Path
) -> None:
    said: dict[str, Any] = {"result": [{"type": "rating", "from_name": "score", "value": {"rating": 3}}]}
    annotations = [{**said, "id": 1, "completed_by": 70707}, {**said, "id": 2, "completed_by": 8}]
    annotations[0]["was_cancelled"] = True
    export = tmp_path / "export.json"
    export.write_text(json.dumps([{"data": {"image": "a.png"}, "annotations": annotations}]))
    import_folder(photos, home=store.home, day=DAY, ratings=export)
    assert remove(store, "annotator", "70707") == []
    assert search(store.home.imports, [b"70707"]) == set()
    assert "8" in {one.partition("/")[2] for one in plan_for(store, "annotator", "8").subjects.annotators}


def test_a_removed_address_in_a_further_column_does_not_come_back(
    photos: Path, store: Store, search: Search, tmp_path: Path
) -> None:
    """Neither by another import of the file, nor from a file that is declared where it lies."""
    remove(store, "url", "https://x.example/1.png")
    described = tmp_path / "p.csv"
    described.write_text("image,page\na.png,https://x.example/1.png\nb.png,https://x.example/2.png\n")
    ratings = tmp_path / "r.csv"
    ratings.write_text("image,annotator,score,seen\na.png,zoe,1,at https://x.example/1.png.\n")
    import_folder(photos, home=store.home, day=DAY, ratings=ratings, pictures=described)
    assert search(store.home.root, [b"x.example/1.png"]) == set()
    assert search(store.home.imports, [b"https://x.example/2.png"])
    (source,) = load_sources(store.home.sources_file)
    declared = {"ratings": [RatingsFile(path=str(ratings))], "pictures": PicturesFile(path=str(described))}
    source = source.model_copy(update=declared)
    save_sources(store.home.sources_file, [source])
    crawled(store)
    ref = collect_annotations(store.tables.snapshot("raw_crawl"), sources=[source], store=store)
    (row,) = store.tables.read(ref).to_pylist()
    assert json.loads(row["attributes"]) == {"page": "[removed]", "seen": "at [removed]."}


def test_a_removed_address_in_a_further_column_of_a_list_does_not_come_back(
    photos: Path, store: Store, tmp_path: Path
) -> None:
    remove(store, "url", "https://x.example/1.png")
    path = tmp_path / "list.csv"
    path.write_text("url,licence,page\nnothing.png,see https://x.example/1.png,https://x.example/1.png\n")
    save_sources(store.home.sources_file, [UrlListSource(name="l", path=str(path), licence_column="licence")])
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    ref = crawl_day(day, sources=load_sources(store.home.sources_file), store=store, settings=CrawlSettings())
    (row,) = store.tables.read(ref).to_pylist()
    assert (row["url"], row["status"], row["licence"]) == ("nothing.png", "refused", "see [removed]")
    assert json.loads(row["attributes"])["page"] == "[removed]"
