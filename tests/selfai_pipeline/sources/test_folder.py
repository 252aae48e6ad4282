"""Folders as sources: pictures are taken in, everything else is a row with its reason."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from selfai_pipeline.errors import InputError
from selfai_pipeline.sources.crawl import crawl_day
from selfai_pipeline.sources.settings import CrawlSettings, FolderSource
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef

DAY = "2026-01-01"
Encode = Callable[..., bytes]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "faces"
    path.mkdir()
    return path


def source(folder: Path) -> FolderSource:
    return FolderSource(name="faces", path=str(folder), day=DAY, licence="CC0")


def crawl(folder: Path, store: Store, settings: CrawlSettings, day: str = DAY) -> TableRef:
    return crawl_day(day, sources=[source(folder)], store=store, settings=settings)


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
