import logging
from pathlib import Path
from unittest.mock import patch

import pytest

from selfai_pipeline.errors import StorageError
from selfai_pipeline.home import Home
from selfai_pipeline.sources.gallery import sample
from selfai_pipeline.sources.gallery.sample import prepare_sample
from selfai_pipeline.sources.gallery.server import gallery_folder
from selfai_pipeline.sources.gallery.settings import GallerySettings
from selfai_pipeline.sources.settings import PagesSource, load_sources

ONE = GallerySettings(days=["2026-01-01"], portraits_per_day=1, picture_size=96)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_gallery_is_declared_as_a_source(home: Home) -> None:
    prepare_sample(home, ONE)
    (source,) = load_sources(home.sources_file)
    assert isinstance(source, PagesSource)
    assert source.name == "sample-gallery"
    assert source.start_urls_of("2026-01-01") == ["http://127.0.0.1:8650/2026-01-01/index.html"]
    assert source.allowed_addresses == ["127.0.0.1:8650"]
    assert source.ratings[0].file(home).read_text().startswith("image,annotator,score,rated_at,group\n")


def test_the_same_settings_give_the_same_bytes(tmp_path: Path) -> None:
    homes = [Home.at(tmp_path / name) for name in ("one", "other")]
    for home in homes:
        prepare_sample(home, ONE)
    assert contents(homes[0].root) == contents(homes[1].root)


def test_a_second_call_does_nothing(home: Home) -> None:
    prepare_sample(home, ONE)
    before = contents(home.root)
    with patch.object(sample, "portrait_file", side_effect=AssertionError("rendered again")):
        prepare_sample(home, ONE)
    assert contents(home.root) == before


def test_another_port_is_declared_anew_and_nothing_else_changes(home: Home) -> None:
    prepare_sample(home, ONE)
    before = contents(home.root)
    with patch.object(sample, "portrait_file", side_effect=AssertionError("rendered again")):
        prepare_sample(home, ONE.model_copy(update={"port": 9999}))
    after = contents(home.root)
    (source,) = load_sources(home.sources_file)
    assert isinstance(source, PagesSource)
    assert source.allowed_addresses == ["127.0.0.1:9999"]
    assert source.start_urls_of("2026-01-01") == ["http://127.0.0.1:9999/2026-01-01/index.html"]
    assert {name for name in after if after[name] != before[name]} == {"sources.yaml"}


def test_a_file_that_the_user_emptied_stays_empty(home: Home) -> None:
    home.create().sources_file.write_text("")
    prepare_sample(home, ONE)
    assert home.sources_file.read_text() == ""


def test_what_the_user_changed_stays(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    prepare_sample(home, ONE)
    home.sources_file.write_text("sources: []\n")
    ratings = home.imports / "sample-gallery" / "ratings.csv"
    ratings.write_text("image,annotator,score,rated_at,group\n")
    prepare_sample(home, ONE)
    assert home.sources_file.read_text() == "sources: []\n"
    assert ratings.read_text().count("\n") == 1
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_other_settings_are_rendered_beside_and_rated_anew(home: Home) -> None:
    prepare_sample(home, ONE)
    other = ONE.model_copy(update={"seed": 2})
    ratings = home.imports / "sample-gallery" / "ratings.csv"
    before = ratings.read_text()
    prepare_sample(home, other)
    assert gallery_folder(home, ONE).is_dir()
    assert gallery_folder(home, other).is_dir()
    assert ratings.read_text() != before


def test_a_warning_tells_that_the_port_in_a_changed_file_differs(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    prepare_sample(home, ONE)
    changed = home.sources_file.read_text() + "# mine\n"
    home.sources_file.write_text(changed)
    with caplog.at_level(logging.WARNING):
        prepare_sample(home, ONE.model_copy(update={"port": 9999}))
    assert "127.0.0.1:9999" in caplog.text
    assert home.sources_file.read_text() == changed


def test_a_call_that_broke_off_leaves_nothing_half_made(home: Home) -> None:
    with (
        patch.object(sample, "front_page", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        prepare_sample(home, ONE)
    assert not list((home.cache / "gallery").iterdir())
    prepare_sample(home, ONE)
    assert gallery_folder(home, ONE).is_dir()


def test_a_full_disk_is_one_clear_sentence(home: Home) -> None:
    full = OSError(28, "No space left on device")
    with (
        patch.object(sample, "portrait_file", side_effect=full),
        pytest.raises(StorageError, match="No space left on device"),
    ):
        prepare_sample(home, ONE)


def test_a_home_that_is_a_file_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        prepare_sample(Home.at(tmp_path / "home"), ONE)
