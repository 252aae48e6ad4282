"""Folders and lists name the days that they have pictures of, so that nobody has to type them."""

from pathlib import Path

import pytest

from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home
from selfai_pipeline.sources.days import days_of
from selfai_pipeline.sources.settings import FolderSource, PagesSource, UrlListSource
from selfai_pipeline.storage import Storage


def folder(path: str, **values: str) -> FolderSource:
    return FolderSource(name="faces", path=path, **values)


def test_a_folder_with_a_day_names_it(home: Home) -> None:
    assert days_of(folder("faces", day="2026-01-02"), home) == {"2026-01-02"}


@pytest.mark.parametrize(
    ("path", "made"),
    [("faces/{day}", "faces/{}"), ("faces/of-{day}.set/large", "faces/of-{}.set/large"), ("{day}", "{}")],
)
def test_subfolders_name_the_days_that_they_are_called_by(home: Home, path: str, made: str) -> None:
    for day in ("2026-01-02", "2026-02-30", "2026-03-01"):
        (home.root / made.format(day)).mkdir(parents=True)
    (home.root / "faces").mkdir(exist_ok=True)
    (home.root / "faces" / "2026-01-04").write_text("a file is no folder of a day")
    (home.root / "faces" / "of-2026-01-05.set").mkdir()
    assert days_of(folder(path), home) == {"2026-01-02", "2026-03-01"}


def test_a_folder_that_is_not_there_names_no_day(home: Home) -> None:
    assert days_of(folder("nowhere/{day}"), home) == set()


def test_a_folder_that_cannot_be_listed_says_so(home: Home) -> None:
    (home.root / "loop").symlink_to(home.root / "loop")
    with pytest.raises(InputError, match="cannot be listed"):
        days_of(folder("loop/{day}"), home)


def test_folders_in_an_object_store_name_their_days(home: Home) -> None:
    Storage("memory://named").write("2026-01-02/a.jpg", b"picture")
    Storage("memory://named").write("notes/a.txt", b"text")
    assert days_of(folder("memory://named/{day}"), home) == {"2026-01-02"}


def test_a_list_names_the_days_of_its_rows(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    rows = ["url,when", "http://a/1.jpg,2026-01-02", "http://a/2.jpg,2026-01-03T10:00:00Z", "http://a/3.jpg,"]
    path.write_text("\n".join([*rows, "http://a/4.jpg,some day", ",2026-01-09"]) + "\n")
    listed = UrlListSource(name="list", path=str(path), date_column="when")
    assert days_of(listed, home) == {"2026-01-02", "2026-01-03"}
    assert days_of(UrlListSource(name="list", path=str(path)), home) == set()


def test_a_list_that_cannot_be_read_says_so(home: Home) -> None:
    with pytest.raises(InputError, match=r"gone\.csv"):
        days_of(UrlListSource(name="list", path="gone.csv", date_column="when"), home)


def test_pages_name_no_day(home: Home) -> None:
    assert days_of(PagesSource(name="pages", start_urls=["http://127.0.0.1/{day}"]), home) == set()
