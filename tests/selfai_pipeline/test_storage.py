"""A file is whole or absent, and nothing is written outside of the storage."""

from pathlib import Path

import pytest

from selfai_pipeline.errors import AlteredVersion, MissingVersion, StorageError
from selfai_pipeline.home import Home
from selfai_pipeline.picture_store import PictureStore
from selfai_pipeline.storage import Storage
from selfai_pipeline.store import Store


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
    write_bytes = Path.write_bytes

    def half_then_full(path: Path, content: bytes) -> int:
        write_bytes(path, content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half_then_full)
    with pytest.raises(StorageError, match="No space left on device"):
        storage.write("file", b"new content")
    assert storage.read("file") == b"old"
    assert list(storage.list()) == ["file"]


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
    with pytest.raises(MissingVersion):
        pictures.get(first)


def test_bytes_that_changed_under_their_name_are_refused(tmp_path: Path) -> None:
    pictures = PictureStore(Storage(tmp_path), "pictures")
    sha256 = pictures.put(b"face")
    (tmp_path / pictures.relative_path(sha256)).write_bytes(b"mask")
    with pytest.raises(AlteredVersion, match=sha256):
        pictures.get(sha256)


def test_a_hash_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        PictureStore(Storage(tmp_path), "pictures").get("../../etc/passwd")


def test_a_home_below_a_file_cannot_be_made_and_says_how_to_mend_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match="set SELFAI_HOME"):
        Home.at(tmp_path / "file" / "home").create()
