"""A file is whole or absent, and nothing is written outside of the storage."""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from selfai_pipeline.environment import Environment
from selfai_pipeline.errors import AlteredVersion, InputError, MissingVersion, StorageError
from selfai_pipeline.home import Home
from selfai_pipeline.picture_store import PictureStore
from selfai_pipeline.storage import Storage, replace_file
from selfai_pipeline.store import Store, open_store


def test_what_is_written_is_read_back_and_listed(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    storage.write("a/b.bin", b"one")
    storage.write("a/b.bin", b"two")
    assert storage.read("a/b.bin") == b"two"
    assert list(storage.list("a")) == ["b.bin"]
    assert list(storage.list("nothing")) == []
    storage.delete("a/b.bin")
    assert not storage.exists("a/b.bin")


@pytest.mark.parametrize("path", ["../outside", "/absolute", "a/../../outside", "a\\b"])
def test_a_path_cannot_leave_the_storage(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="not a path inside"):
        Storage(tmp_path).write(path, b"x")


def test_a_write_that_fails_leaves_the_old_bytes_and_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(tmp_path)
    storage.write("file", b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        storage.write("file", b"new content")
    assert storage.read("file") == b"old"
    assert list(storage.list()) == ["file"]


def test_a_file_is_on_the_disk_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut could leave the name with nothing behind it."""
    there_when_synced = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        there_when_synced.append((tmp_path / "a" / "file").exists())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    replace_file(tmp_path / "a" / "file", b"content")
    assert there_when_synced == [False]
    assert (tmp_path / "a" / "file").read_bytes() == b"content"


def test_in_production_everything_opens_the_store_that_the_setting_names(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    monkeypatch.setenv("SELFAI_STORAGE_URL", str(elsewhere))
    assert open_store(home).files.root == str(home.root)
    monkeypatch.setenv("SELFAI_ENV", Environment.PRODUCTION)
    assert open_store(home).files.root == str(elsewhere)
    assert open_store(home).home == home
    monkeypatch.delenv("SELFAI_STORAGE_URL")
    with pytest.raises(InputError, match=r"SELFAI_STORAGE_URL: .*Set it to an address such as s3://"):
        open_store(home)


def test_a_bucket_opens_without_asking_it_and_remembers_no_listing() -> None:
    storage = Storage("s3://bucket/selfai")
    assert storage.path("tables/a") == "bucket/selfai/tables/a"
    assert not storage.filesystem.dircache.use_listings_cache


def test_without_the_package_for_buckets_the_mend_is_named() -> None:
    """In a process of its own: fsspec remembers what it has imported."""
    code = (
        "import sys; sys.modules['s3fs'] = None\n"
        "from selfai_pipeline.storage import Storage, InputError\n"
        "try: Storage('s3://bucket/selfai')\n"
        "except InputError as error: print(error)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "s3://bucket/selfai: files cannot be kept there" in result.stdout
    assert "pip install --constraint constraints.txt --editable '.[s3]'" in result.stdout


def test_an_address_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InputError, match="nowhere://x: files cannot be kept there"):
        Storage("nowhere://x")


def test_an_object_store_holds_the_same_tables(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "home", "memory://selfai")
    sha256 = store.pictures.put(b"bytes")
    assert store.pictures.get(sha256) == b"bytes"
    ref = store.tables.write([], asset="raw_crawl", partition="2026-01-01")
    assert store.tables.read(ref).num_rows == 0
    with pytest.raises(StorageError, match="no local path"):
        store.files.local_path("pictures")


def test_the_same_bytes_are_stored_once(tmp_path: Path) -> None:
    pictures = PictureStore(Storage(tmp_path), "pictures")
    first = pictures.put(b"face")
    assert pictures.put(b"face") == first
    assert first in pictures
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1
    pictures.delete(first)
    assert first not in pictures
    with pytest.raises(MissingVersion, match=r"not in the store\. Put the file back from a copy"):
        pictures.get(first)


def test_bytes_that_changed_under_their_name_are_refused(tmp_path: Path) -> None:
    pictures = PictureStore(Storage(tmp_path), "pictures")
    sha256 = pictures.put(b"face")
    (tmp_path / pictures.relative_path(sha256)).write_bytes(b"mask")
    with pytest.raises(AlteredVersion, match=sha256):
        pictures.get(sha256)


@pytest.mark.parametrize("damaged", [b"", b"fa", b"mask"])
def test_storing_bytes_again_heals_their_file(tmp_path: Path, damaged: bytes) -> None:
    pictures = PictureStore(Storage(tmp_path), "pictures")
    sha256 = pictures.put(b"face")
    file = tmp_path / pictures.relative_path(sha256)
    file.write_bytes(damaged)
    assert (sha256 in pictures) == bool(damaged)
    assert pictures.put(b"face") == sha256
    assert file.read_bytes() == b"face"
    assert sha256 in pictures


def test_storing_the_same_bytes_again_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = PictureStore(Storage(tmp_path), "pictures")
    pictures.put(b"face")
    monkeypatch.setattr(Storage, "write_all", lambda *_, **__: pytest.fail("written again"))
    pictures.put(b"face")


@pytest.mark.parametrize("url", ["{folder}", "memory://many"])
def test_many_pictures_are_stored_at_once_and_each_once(tmp_path: Path, url: str) -> None:
    store = PictureStore(Storage(url.format(folder=tmp_path)), "pictures")
    contents = [f"picture {number}".encode() for number in range(100)]
    named = {hashlib.sha256(content).hexdigest(): content for content in contents}
    store.put_all(dict(list(named.items())[:60]))
    store.put_all(named)
    assert [store.get(sha256) for sha256 in named] == contents
    store.put_all({})


def test_of_many_pictures_none_is_stored_by_halves_where_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PictureStore(Storage(tmp_path), "pictures")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    contents = {hashlib.sha256(content).hexdigest(): content for content in (b"one", b"two")}
    with pytest.raises(StorageError, match="No space left on device"):
        store.put_all(contents)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_a_killed_process_left_is_swept_away_once_no_process_can_be_at_it(tmp_path: Path) -> None:
    store = PictureStore(Storage(tmp_path), "pictures")
    whole = store.put(b"whole")
    left, young = (tmp_path / "pictures" / "parts" / name for name in ("a.part", "b.part"))
    for part in (left, young):
        part.write_bytes(b"half")
    hours_ago = time.time() - 2 * 3600
    os.utime(left, (hours_ago, hours_ago))
    store.sweep()
    assert list(left.parent.iterdir()) == [young]
    assert store.get(whole) == b"whole"


def test_a_hash_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        PictureStore(Storage(tmp_path), "pictures").get("../../etc/passwd")


def test_a_home_below_a_file_cannot_be_made_and_says_how_to_mend_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match="set SELFAI_HOME"):
        Home.at(tmp_path / "file" / "home").create()
