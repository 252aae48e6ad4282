from pathlib import Path

import pytest

from selfai_pipeline.home import Home
from selfai_pipeline.sources.gallery.sample import prepare_sample
from selfai_pipeline.sources.gallery.settings import GallerySettings

TINY = GallerySettings(
    seed=3, days=["2026-01-01", "2026-01-02"], portraits_per_day=8, port=0, picture_size=160
)


@pytest.fixture(scope="session")
def tiny_settings() -> GallerySettings:
    """Two days of eight small portraits; the port is whatever is free."""
    return TINY


@pytest.fixture(scope="session")
def tiny_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with the tiny gallery rendered; tests only read it."""
    home = Home.at(tmp_path_factory.mktemp("gallery") / "home")
    prepare_sample(home, TINY)
    return home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.at(tmp_path / "home")
