"""Folders as sources: pictures are taken in, everything else is a row with its reason."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from selfai_pipeline.errors import InputError, PassingTrouble
from selfai_pipeline.sources.crawl import crawl_day
from selfai_pipeline.sources.settings import CrawlSettings, FolderSource
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef

DAY = "2026-01-01"
NEXT_DAY, LATER = "2026-01-02", "2026-01-03"
Encode = Callable[..., bytes]


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a day today."""
    return lambda day: monkeypatch.setattr("selfai_pipeline.sources.crawl.today", lambda: day)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "faces"
    path.mkdir()
    return path


def source(folder: Path) -> FolderSource:
    return FolderSource(name="faces", path=str(folder), day=DAY, licence="CC0")


def crawl(folder: Path | FolderSource, store: Store, settings: CrawlSettings, day: str = DAY) -> TableRef:
    here = folder if isinstance(folder, FolderSource) else source(folder)
    return crawl_day(day, sources=[here], store=store, settings=settings)


def rows(store: Store, ref: TableRef) -> dict[str, dict[str, Any]]:
    return {row["url"]: row for row in store.tables.read(ref).to_pylist()}


def outcomes(store: Store, ref: TableRef) -> dict[str, str]:
    return {url: row["reason"] or row["status"] for url, row in rows(store, ref).items()}


def test_pictures_of_all_folders_below_are_stored(
    jpeg: Encode, folder: Path, store: Store, settings: CrawlSettings
) -> None:
    (folder / "sub").mkdir()
    (folder / "a.jpg").write_bytes(jpeg(1))
    (folder / "sub" / "ä 100%.jpg").write_bytes(jpeg(2))
    (folder / "scores.csv").write_text("image,score\na.jpg,3\n")
    (folder / "empty.png").write_bytes(b"")
    (folder / "cut.jpg").write_bytes(jpeg(3)[:-100])
    (folder / "large.jpg").write_bytes(jpeg(4, width=300, height=300))
    (folder / "heavy.jpg").write_bytes(jpeg(5) + bytes(200_000))
    (folder / ".DS_Store").write_bytes(b"hidden")
    ref = crawl(folder, store, settings)
    assert outcomes(store, ref) == {
        "file:a.jpg": "stored",
        "file:sub/ä 100%.jpg": "stored",
        "file:scores.csv": "not_a_picture",
        "file:empty.png": "empty_file",
        "file:cut.jpg": "truncated",
        "file:large.jpg": "too_many_pixels",
        "file:heavy.jpg": "too_many_bytes",
    }
    row = rows(store, ref)["file:sub/ä 100%.jpg"]
    assert json.loads(row["attributes"]) == {"name": "sub/ä 100%.jpg"}
    assert row["image_id"] in store.pictures
    assert row["fetched_at"].isoformat() == "2026-01-01T00:00:00+00:00"


def test_the_table_is_the_same_wherever_it_is_made(
    jpeg: Encode, folder: Path, store: Store, settings: CrawlSettings, tmp_path: Path
) -> None:
    (folder / "a.jpg").write_bytes(jpeg(1))
    (folder / "b.txt").write_text("no picture")
    first = crawl(folder, store, settings)
    assert crawl(folder, store, settings) == first
    moved = shutil.copytree(folder, tmp_path / "elsewhere" / "faces")
    other = Store.open(tmp_path / "other-home")
    other.home.create()
    assert crawl(moved, other, settings) == first


def test_links_that_lead_out_of_the_folder_are_refused(
    jpeg: Encode, folder: Path, store: Store, settings: CrawlSettings, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.jpg").write_bytes(jpeg(9))
    (folder / "a.jpg").write_bytes(jpeg(1))
    (folder / "inside.jpg").symlink_to(folder / "a.jpg")
    (folder / "out.jpg").symlink_to(tmp_path / "outside" / "secret.jpg")
    (folder / "up.jpg").symlink_to("../outside/secret.jpg")
    (folder / "out").symlink_to(tmp_path / "outside")
    (folder / "self").symlink_to(folder)
    (folder / "circle.jpg").symlink_to("circle.jpg")
    (folder / "nowhere.jpg").symlink_to("missing.jpg")
    os.mkfifo(folder / "pipe.jpg")
    assert outcomes(store, crawl(folder, store, settings)) == {
        "file:a.jpg": "stored",
        "file:inside.jpg": "stored",
        "file:out.jpg": "outside_folder",
        "file:up.jpg": "outside_folder",
        "file:out": "outside_folder",
        "file:self": "not_a_file",
        "file:circle.jpg": "unreadable",
        "file:nowhere.jpg": "unreadable",
        "file:pipe.jpg": "not_a_file",
    }


def forbid(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let `folder` not be listed; its permission bits would not stop root, who may run the tests."""
    scandir = os.scandir

    def guarded(path: Path | str) -> Any:
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)


def test_a_subfolder_that_cannot_be_listed_is_an_outcome_and_is_tried_again(
    jpeg: Encode, folder: Path, store: Store, settings: CrawlSettings
) -> None:
    (folder / "closed").mkdir()
    (folder / "closed" / "b.jpg").write_bytes(jpeg(2))
    (folder / "a.jpg").write_bytes(jpeg(1))
    with pytest.MonkeyPatch.context() as monkeypatch:
        forbid(monkeypatch, folder / "closed")
        ref = crawl(folder, store, settings)
    assert outcomes(store, ref) == {"file:a.jpg": "stored", "file:closed": "unreadable"}
    assert outcomes(store, crawl(folder, store, settings)) == {
        "file:a.jpg": "stored",
        "file:closed": "gone",
        "file:closed/b.jpg": "stored",
    }


def test_a_folder_that_cannot_be_listed_is_an_error(
    folder: Path, store: Store, settings: CrawlSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid(monkeypatch, folder)
    with pytest.raises(InputError, match=r"cannot be read .* permissions"):
        crawl(folder, store, settings)


def test_its_pictures_fall_on_its_day_only(
    jpeg: Encode, folder: Path, store: Store, settings: CrawlSettings
) -> None:
    (folder / "a.jpg").write_bytes(jpeg(1))
    other = crawl(folder, store, settings, day="2026-01-02")
    assert other.rows == 0
    assert store.tables.facts(other) == {"state": "empty"}


def test_new_and_changed_files_come_in_and_deleted_ones_stay(
    jpeg: Encode, folder: Path, store: Store, settings: CrawlSettings
) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (folder / name).write_bytes(jpeg(1))
    before = rows(store, crawl(folder, store, settings))
    (folder / "a.jpg").unlink()
    (folder / "b.jpg").write_bytes(jpeg(2))
    (folder / "d.jpg").write_bytes(jpeg(3))
    after = rows(store, crawl(folder, store, settings))
    assert sorted(after) == ["file:a.jpg", "file:b.jpg", "file:c.jpg", "file:d.jpg"]
    assert after["file:a.jpg"] == before["file:a.jpg"]
    assert after["file:b.jpg"]["image_id"] != before["file:b.jpg"]["image_id"]


def test_a_file_that_failed_is_gone_once_it_is_deleted_and_comes_in_once_it_is_back(
    jpeg: Encode, folder: Path, store: Store, settings: CrawlSettings
) -> None:
    broken = folder / "a.jpg"
    broken.symlink_to(folder / "nowhere")
    assert outcomes(store, crawl(folder, store, settings)) == {"file:a.jpg": "unreadable"}
    broken.unlink()
    assert outcomes(store, crawl(folder, store, settings)) == {"file:a.jpg": "gone"}
    broken.write_bytes(jpeg(1))
    assert outcomes(store, crawl(folder, store, settings)) == {"file:a.jpg": "stored"}


def test_a_folder_put_in_the_place_of_another_brings_its_own_files_only(
    jpeg: Encode, folder: Path, store: Store, settings: CrawlSettings, tmp_path: Path
) -> None:
    (folder / "old.jpg").write_bytes(jpeg(1))
    crawl(folder, store, settings)
    other = tmp_path / "other-faces"
    other.mkdir()
    (other / "new.jpg").write_bytes(jpeg(2))
    assert outcomes(store, crawl(other, store, settings)) == {"file:new.jpg": "stored"}


def test_a_folder_that_is_gone_keeps_what_was_taken_from_it(
    jpeg: Encode, folder: Path, store: Store, settings: CrawlSettings
) -> None:
    (folder / "a.jpg").write_bytes(jpeg(1))
    first = crawl(folder, store, settings)
    shutil.rmtree(folder)
    assert crawl(folder, store, settings) == first


def test_a_folder_that_never_was_is_an_error(tmp_path: Path, store: Store, settings: CrawlSettings) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        crawl(tmp_path / "missing", store, settings)


def test_a_file_refused_by_a_limit_comes_in_when_the_limit_moves(
    jpeg: Encode, folder: Path, store: Store, settings: CrawlSettings
) -> None:
    (folder / "large.jpg").write_bytes(jpeg(4, width=300, height=300))
    assert outcomes(store, crawl(folder, store, settings)) == {"file:large.jpg": "too_many_pixels"}
    wider = settings.model_copy(update={"max_pixels": 100_000})
    assert outcomes(store, crawl(folder, store, wider)) == {"file:large.jpg": "stored"}


def test_each_subfolder_of_a_day_falls_on_it(
    jpeg: Encode, folder: Path, store: Store, settings: CrawlSettings
) -> None:
    for number, day in enumerate((DAY, NEXT_DAY)):
        (folder / day / "sub").mkdir(parents=True)
        (folder / day / "sub" / "a.jpg").write_bytes(jpeg(number))
    by_day = FolderSource(name="faces", path=str(folder / "{day}"))
    first, second = (rows(store, crawl(by_day, store, settings, day)) for day in (DAY, NEXT_DAY))
    assert list(first) == list(second) == ["file:sub/a.jpg"]
    assert first["file:sub/a.jpg"]["image_id"] != second["file:sub/a.jpg"]["image_id"]
    assert json.loads(first["file:sub/a.jpg"]["attributes"]) == {"name": "sub/a.jpg"}
    assert crawl(by_day, store, settings, LATER).rows == 0, "a day without a subfolder is an empty one"
    shutil.rmtree(folder)
    with pytest.raises(InputError, match=f"there is no folder {folder / LATER}"):
        crawl(by_day, store, settings, LATER)


def test_without_a_day_a_picture_falls_on_the_day_on_which_it_is_new(
    jpeg: Encode, folder: Path, store: Store, settings: CrawlSettings, on: Callable[[str], None]
) -> None:
    live = FolderSource(name="faces", path=str(folder))
    for number, name in enumerate(("a.jpg", "b.jpg")):
        (folder / name).write_bytes(jpeg(number))
    (folder / "notes.txt").write_text("no picture")
    (folder / "nowhere.jpg").symlink_to("missing.jpg")
    on(DAY)
    first = crawl(live, store, settings, DAY)
    found = {"file:a.jpg": "stored", "file:b.jpg": "stored", "file:notes.txt": "not_a_picture"}
    assert outcomes(store, first) == {**found, "file:nowhere.jpg": "unreadable"}
    on(NEXT_DAY)
    (folder / "c.jpg").write_bytes(jpeg(3))
    (folder / "b.jpg").write_bytes(jpeg(4))
    second = crawl(live, store, settings, NEXT_DAY)
    assert outcomes(store, second) == {"file:b.jpg": "stored", "file:c.jpg": "stored"}
    on(LATER)
    assert crawl(live, store, settings, NEXT_DAY) == second
    nothing_new = crawl(live, store, settings, LATER)
    assert nothing_new.rows == 0
    on("2026-01-04")
    assert crawl(live, store, settings, LATER) == nothing_new
    (folder / "nowhere.jpg").unlink()
    assert outcomes(store, crawl(live, store, settings, DAY)) == {**found, "file:nowhere.jpg": "gone"}


def test_without_a_day_a_past_day_is_not_crawled(
    jpeg: Encode, folder: Path, store: Store, settings: CrawlSettings
) -> None:
    (folder / "a.jpg").write_bytes(jpeg(1))
    (row,) = rows(store, crawl(FolderSource(name="faces", path=str(folder)), store, settings)).values()
    assert (row["status"], row["reason"], row["url"]) == ("not_crawled", "not_today", str(folder))


def test_a_folder_has_limits_of_its_own(
    jpeg: Encode, folder: Path, store: Store, settings: CrawlSettings
) -> None:
    (folder / "large.jpg").write_bytes(jpeg(4, width=300, height=300))
    wider = FolderSource(name="faces", path=str(folder), day=DAY, limits={"max_pixels": 100_000})
    assert outcomes(store, crawl(wider, store, settings)) == {"file:large.jpg": "stored"}


@pytest.fixture
def bucket(tmp_path: Path) -> Any:
    """A folder in an object store, here in memory: its address, and the file system that it is in."""
    memory = fsspec.filesystem("memory")
    root = f"/bucket-{tmp_path.name}"
    yield root, memory
    memory.rm(root, recursive=True)


def test_a_folder_in_an_object_store(
    jpeg: Encode, bucket: Any, store: Store, settings: CrawlSettings
) -> None:
    root, memory = bucket
    for name, content in {
        "a.jpg": jpeg(1),
        "sub/\u00e4 100%.jpg": jpeg(2),
        ".hidden.jpg": jpeg(3),
        ".git/d.jpg": jpeg(3),
        "heavy.jpg": jpeg(6) + bytes(200_000),
        "scores.csv": b"image,score",
    }.items():
        memory.pipe_file(f"{root}/{name}", content)
    stored = FolderSource(name="faces", path=f"memory:/{root}/", day=DAY)
    first = crawl(stored, store, settings)
    assert outcomes(store, first) == {
        "file:a.jpg": "stored",
        "file:sub/\u00e4 100%.jpg": "stored",
        "file:heavy.jpg": "too_many_bytes",
        "file:scores.csv": "not_a_picture",
    }
    row = rows(store, first)["file:sub/\u00e4 100%.jpg"]
    assert json.loads(row["attributes"]) == {"name": "sub/\u00e4 100%.jpg"}
    assert row["image_id"] in store.pictures
    assert crawl(stored, store, settings) == first
    memory.pipe_file(f"{root}/a.jpg", jpeg(5))
    changed = rows(store, crawl(stored, store, settings))
    assert changed["file:a.jpg"]["image_id"] != rows(store, first)["file:a.jpg"]["image_id"]


def test_a_stored_file_that_has_not_changed_is_not_fetched_again(
    jpeg: Encode, bucket: Any, store: Store, settings: CrawlSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, memory = bucket
    memory.pipe_file(f"{root}/a.jpg", jpeg(1))
    stored = FolderSource(name="faces", path=f"memory:/{root}", day=DAY)
    first = crawl(stored, store, settings)
    fetched: list[str] = []
    fetch = type(memory).cat_file

    def counted(self: Any, path: str, **options: Any) -> bytes:
        fetched.append(path)
        return bytes(fetch(self, path, **options))

    monkeypatch.setattr(type(memory), "cat_file", counted)
    assert crawl(stored, store, settings) == first
    assert fetched == []
    (store.home.cache / "folders" / "faces.json").write_text("{broken")
    assert crawl(stored, store, settings) == first
    assert fetched == [f"{root}/a.jpg"]


def test_days_and_news_of_a_folder_in_an_object_store(
    jpeg: Encode, bucket: Any, store: Store, settings: CrawlSettings, on: Callable[[str], None]
) -> None:
    root, memory = bucket
    memory.pipe_file(f"{root}/{DAY}/a.jpg", jpeg(1))
    by_day = FolderSource(name="days", path=f"memory:/{root}/{{day}}")
    assert outcomes(store, crawl(by_day, store, settings)) == {"file:a.jpg": "stored"}
    assert crawl(by_day, store, settings, NEXT_DAY).rows == 0
    live = FolderSource(name="live", path=f"memory:/{root}")
    on(DAY)
    assert outcomes(store, crawl(live, store, settings)) == {f"file:{DAY}/a.jpg": "stored"}
    on(NEXT_DAY)
    memory.pipe_file(f"{root}/b.jpg", jpeg(2))
    assert outcomes(store, crawl(live, store, settings, NEXT_DAY)) == {"file:b.jpg": "stored"}


def test_a_store_that_does_not_answer_is_named_and_one_file_that_does_not_is_tried_again(
    jpeg: Encode, bucket: Any, store: Store, settings: CrawlSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, memory = bucket
    stored = FolderSource(name="faces", path=f"memory:/{root}", day=DAY)
    with pytest.raises(InputError, match="there is no folder memory:/"):
        crawl(stored, store, settings)
    memory.pipe_file(f"{root}/a.jpg", jpeg(1))

    def broken(*_: Any, **__: Any) -> Any:
        raise ConnectionResetError("the other side hung up")

    with pytest.MonkeyPatch.context() as listing:
        listing.setattr(type(memory), "find", broken)
        with pytest.raises(PassingTrouble, match="ConnectionResetError: the other side hung up"):
            crawl(stored, store, settings)
    with pytest.MonkeyPatch.context() as reading:
        reading.setattr(type(memory), "cat_file", broken)
        assert outcomes(store, crawl(stored, store, settings)) == {"file:a.jpg": "unreadable"}
    assert outcomes(store, crawl(stored, store, settings)) == {"file:a.jpg": "stored"}


def test_a_kind_of_store_that_is_not_installed_is_named_and_a_file_is_no_folder(
    jpeg: Encode, bucket: Any, store: Store, settings: CrawlSettings
) -> None:
    with pytest.raises(InputError, match=r"^gs://bucket/faces: "):
        crawl(FolderSource(name="faces", path="gs://bucket/faces", day=DAY), store, settings)
    root, memory = bucket
    memory.pipe_file(f"{root}/a.jpg", jpeg(1))
    with pytest.raises(InputError, match="it is a file and no folder"):
        crawl(FolderSource(name="faces", path=f"memory:/{root}/a.jpg", day=DAY), store, settings)
