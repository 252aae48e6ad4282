"""Fingerprints of what a crawl and its ratings depend on outside the graph."""

import datetime
import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from selfai_pipeline.home import Home
from selfai_pipeline.sources import fingerprints
from selfai_pipeline.sources.fingerprints import crawl_fingerprints, rating_declarations_fingerprint
from selfai_pipeline.sources.journal import Journal
from selfai_pipeline.sources.outcomes import Found
from selfai_pipeline.sources.settings import (
    FolderSource,
    PagesSource,
    PicturesFile,
    RatingsFile,
    Source,
    UrlListSource,
)

DAY, OTHER_DAY = "2026-01-01", "2026-01-02"
GALLERY = PagesSource(name="gallery", start_urls=["http://127.0.0.1:8650/{day}/index.html"])
LIVE = PagesSource(name="news", start_urls=["http://127.0.0.1:8650/"])


@pytest.fixture
def faces(tmp_path: Path) -> FolderSource:
    folder = tmp_path / "faces"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(b"one")
    (folder / "sub" / "b.jpg").write_bytes(b"two")
    return FolderSource(name="faces", path=str(folder), day=DAY)


def of_day(*sources: Source, home: Home, day: str = DAY) -> dict[str, str]:
    return crawl_fingerprints(day, sources=sources, home=home)


def test_the_order_of_the_sources_does_not_matter(home: Home, faces: FolderSource) -> None:
    assert of_day(GALLERY, faces, home=home) == of_day(faces, GALLERY, home=home)


def test_a_change_of_a_source_shows_on_its_days(home: Home, faces: FolderSource) -> None:
    licensed = faces.model_copy(update={"licence": "CC0"})
    deeper = GALLERY.model_copy(update={"depth": 2})
    assert of_day(GALLERY, licensed, home=home) != of_day(GALLERY, faces, home=home)
    assert of_day(deeper, home=home, day=OTHER_DAY) != of_day(GALLERY, home=home, day=OTHER_DAY)


def test_a_folder_of_another_day_does_not_count(home: Home, faces: FolderSource) -> None:
    assert of_day(GALLERY, faces, home=home, day=OTHER_DAY) == of_day(GALLERY, home=home, day=OTHER_DAY)
    assert of_day(GALLERY, faces, home=home) != of_day(GALLERY, home=home)


def test_ratings_and_columns_about_pictures_count_for_the_ratings_only(
    home: Home, faces: FolderSource
) -> None:
    rated = faces.model_copy(update={"ratings": [RatingsFile(path="ratings.csv", maximum=7)]})
    described = faces.model_copy(update={"pictures": PicturesFile(path="pictures.csv")})
    for other in (rated, described):
        assert of_day(other, home=home) == of_day(faces, home=home)
        assert rating_declarations_fingerprint([other]) != rating_declarations_fingerprint([faces])
    licensed = faces.model_copy(update={"licence": "CC0"})
    assert rating_declarations_fingerprint([licensed]) == rating_declarations_fingerprint([faces])


def test_the_hash_in_the_name_of_an_imported_file_is_no_way_to_read_it(faces: FolderSource) -> None:
    """It changes where a removal takes rows out; the file's bytes are counted elsewhere."""

    def rated(path: str) -> str:
        return rating_declarations_fingerprint(
            [faces.model_copy(update={"ratings": [RatingsFile(path=path)]})]
        )

    before = rated(f"imports/faces/ratings-{'a' * 12}.csv")
    assert rated(f"imports/faces/ratings-{'b' * 12}.csv") == before
    assert rated(f"imports/faces/ratings-{'a' * 12}.jsonl") != before
    assert rated(f"elsewhere/ratings-{'a' * 12}.csv") != before


def _rename(folder: Path) -> None:
    (folder / "a.jpg").rename(folder / "c.jpg")


def _touch(folder: Path) -> None:
    os.utime(folder / "sub" / "b.jpg", ns=(1, 1))


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "c.jpg").write_bytes(b"three"),
        lambda folder: (folder / "sub" / "b.jpg").write_bytes(b"longer"),
        lambda folder: (folder / "a.jpg").unlink(),
        lambda folder: (folder / "link.jpg").symlink_to(folder / "nowhere"),
        _rename,
        _touch,
    ],
    ids=["a new file", "another size", "a file gone", "a broken link", "another name", "another moment"],
)
def test_every_change_of_the_files_of_a_folder_shows(
    home: Home, faces: FolderSource, change: Callable[[Path], object]
) -> None:
    before = of_day(faces, home=home)
    change(Path(faces.path))
    assert of_day(faces, home=home) != before
    assert of_day(faces, home=home)["sources"] == before["sources"]


def test_hidden_files_do_not_count(home: Home, faces: FolderSource) -> None:
    before = of_day(faces, home=home)
    (Path(faces.path) / ".DS_Store").write_bytes(b"hidden")
    (Path(faces.path) / ".git").mkdir()
    (Path(faces.path) / ".git" / "index").write_bytes(b"hidden")
    assert of_day(faces, home=home) == before


def test_a_folder_that_is_gone_has_a_fingerprint_of_its_own(home: Home, faces: FolderSource) -> None:
    before = of_day(faces, home=home)
    Path(faces.path).rename(Path(faces.path).with_name("moved"))
    assert of_day(faces, home=home)["folders"] != before["folders"]


def test_a_live_source_counts_today_and_on_the_days_on_which_it_was_crawled(home: Home) -> None:
    nothing = of_day(home=home)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    assert of_day(LIVE, home=home) == nothing
    assert of_day(LIVE, home=home, day=today) != nothing
    with Journal(home.journal_url) as journal:
        journal.discover("news", DAY, [Found("http://127.0.0.1:8650/", "page")], most=10)
    assert of_day(LIVE, home=home) == of_day(LIVE, home=home, day=today) != nothing


def test_a_list_counts_on_every_day_with_its_bytes(home: Home) -> None:
    path = home.root / "list.csv"
    dated = UrlListSource(name="listed", path="list.csv", date_column="date")
    missing = of_day(dated, home=home)
    path.write_text("url,date\n")
    before = of_day(dated, home=home)
    assert len({missing["lists"], before["lists"], of_day(dated, home=home, day=OTHER_DAY)["lists"]}) == 2
    assert set(before) == {"sources", "lists"}


def test_an_edit_that_keeps_size_and_moment_of_a_list_shows_and_a_touch_does_not(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Also of a list that has been as it is for long, whose hash is known.
    monkeypatch.setattr(fingerprints, "SETTLED_NS", 0)
    path = home.root / "list.csv"
    listed = UrlListSource(name="listed", path="list.csv", date_column="date")
    path.write_text("url,date\nhttps://one.example/1.jpg,2026-01-01\n")
    os.utime(path, ns=(1, 1))
    before = of_day(listed, home=home)
    os.utime(path, ns=(2, 2))
    assert of_day(listed, home=home) == before
    # The clock of a file system ticks every few milliseconds.
    time.sleep(0.05)
    path.write_text("url,date\nhttps://one.example/2.jpg,2026-01-01\n")
    os.utime(path, ns=(2, 2))
    assert of_day(listed, home=home)["lists"] != before["lists"]


def test_a_list_is_read_once_for_all_days(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []

    def digest(content: Any, name: str) -> Any:
        read.append(content.name)
        return hash_of_file(content, name)

    hash_of_file = hashlib.file_digest
    monkeypatch.setattr(fingerprints, "SETTLED_NS", 0)
    monkeypatch.setattr(hashlib, "file_digest", digest)
    path = home.root / "list.csv"
    path.write_text("url,date\n")
    listed = UrlListSource(name="listed", path="list.csv", date_column="date")
    assert of_day(listed, home=home)["lists"] == of_day(listed, home=home, day=OTHER_DAY)["lists"]
    assert read == [str(path)]


def test_a_live_folder_counts_with_its_files_today_only(home: Home, faces: FolderSource) -> None:
    live = FolderSource(name="live", path=faces.path)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    assert of_day(live, home=home) == of_day(home=home)
    assert "folders" in of_day(live, home=home, day=today)
    with Journal(home.journal_url) as journal:
        journal.discover("live", DAY, [Found((Path(faces.path) / "a.jpg").as_uri(), "file")], most=10)
    before = of_day(live, home=home)
    (Path(faces.path) / "c.jpg").write_bytes(b"three")
    assert of_day(live, home=home) == before != of_day(home=home)


def test_a_folder_a_day_counts_with_the_files_of_its_day(home: Home, tmp_path: Path) -> None:
    by_day = FolderSource(name="faces", path=str(tmp_path / "{day}"))
    before = [of_day(by_day, home=home, day=day) for day in (DAY, OTHER_DAY)]
    (tmp_path / DAY).mkdir()
    (tmp_path / DAY / "a.jpg").write_bytes(b"one")
    after = [of_day(by_day, home=home, day=day) for day in (DAY, OTHER_DAY)]
    assert (before[0] != after[0], before[1] == after[1]) == (True, True)


def test_files_in_an_object_store_count_with_their_state(home: Home, tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    root = f"/state-{tmp_path.name}"
    memory.pipe_file(f"{root}/faces/a.jpg", b"one")
    memory.pipe_file(f"{root}/list.csv", b"url")
    both: list[Source] = [
        FolderSource(name="faces", path=f"memory:/{root}/faces", day=DAY),
        UrlListSource(name="listed", path=f"memory:/{root}/list.csv", date_column="date"),
    ]
    before = of_day(*both, home=home)
    assert of_day(*both, home=home) == before
    memory.pipe_file(f"{root}/faces/b.jpg", b"two")
    memory.pipe_file(f"{root}/list.csv", b"url,date")
    after = of_day(*both, home=home)
    assert [after[name] != before[name] for name in ("folders", "lists", "sources")] == [True, True, False]
    memory.rm(root, recursive=True)


def test_a_store_that_does_not_answer_stops_no_fingerprint(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ConnectionResetError("the other side hung up")

    memory = fsspec.filesystem("memory")
    memory.pipe_file(f"/down-{tmp_path.name}/a.jpg", b"one")
    stored = FolderSource(name="faces", path=f"memory://down-{tmp_path.name}", day=DAY)
    before = of_day(stored, home=home)
    monkeypatch.setattr(type(memory), "find", broken)
    assert of_day(stored, home=home)["folders"] != before["folders"]


def test_a_key_with_its_default_makes_nothing_out_of_date(home: Home, faces: FolderSource) -> None:
    spelled_out = FolderSource(name="faces", path=faces.path, day=DAY, licence="", limits={})
    assert of_day(spelled_out, home=home) == of_day(faces, home=home)
    limited = FolderSource(name="faces", path=faces.path, day=DAY, limits={"max_pixels": 50_000_000})
    assert of_day(limited, home=home) != of_day(faces, home=home)
