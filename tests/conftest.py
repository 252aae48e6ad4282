"""Fixtures that every test can use: a store in a temporary folder, nothing of the caller's environment."""

from pathlib import Path

import pytest

from selfai_pipeline.home import Home
from selfai_pipeline.store import Store


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test reads or writes the home of whoever runs it, and none goes through a proxy."""
    monkeypatch.setenv("SELFAI_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SELFAI_ENV", raising=False)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.at(tmp_path / "home").create()


@pytest.fixture
def store(home: Home) -> Store:
    return Store.open(home)
