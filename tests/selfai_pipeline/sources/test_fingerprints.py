"""Fingerprints of what a crawl and its ratings depend on outside the graph."""

import datetime
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from selfai_pipeline.home import Home
from selfai_pipeline.sources.fingerprints import crawl_fingerprints, rating_declarations_fingerprint
from selfai_pipeline.sources.journal import Found, Journal
from selfai_pipeline.sources.settings import FolderSource, PagesSource, PicturesFile, RatingsFile, Source

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
