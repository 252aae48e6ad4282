"""Journals in SQLite and in PostgreSQL, the latter on a real server that is started for these tests."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from selfai_pipeline.sources.journal import Journal


@pytest.fixture(params=["sqlite", "postgresql"])
def journal_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a new journal, once in each database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'journal.sqlite'}"
    server: Any = request.getfixturevalue("postgres")
    return server.new_place()


@pytest.fixture
def open_new() -> Iterator[Callable[[str], Journal]]:
    """Opens journals that are closed after the test."""
    journals: list[Journal] = []

    def open_one(url: str) -> Journal:
        journals.append(Journal(url))
        return journals[-1]

    yield open_one
    for journal in journals:
        journal.engine.dispose()


@pytest.fixture
def journal(journal_url: str, open_new: Callable[[str], Journal]) -> Journal:
    return open_new(journal_url)
