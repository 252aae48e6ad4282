"""The command `selfai audit`: its forms, its exit status, and what it says after a mistake."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from selfai_pipeline.cli import commands
from selfai_pipeline.errors import InputError
from selfai_pipeline.sources.fingerprints import rating_declarations_fingerprint
from selfai_pipeline.sources.settings import FolderSource, RatingsFile, save_sources
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Record, TableRef

IMAGE = "ab" * 32


@pytest.fixture
def table(store: Store) -> TableRef:
    """One rating, as a version that was made from nothing."""
    row = {
        "image_id": IMAGE,
        "annotator": "site/ann",
        "score": 4.0,
        "ratings": 1,
        "rated_at": None,
        "origin": "site",
        "original_score": 4.0,
        "attributes": "{}",
        "annotator_group": None,
    }
    ref = store.tables.write([row], asset="annotations")
    store.tables.point(Record(ref, "4", {}, {}, run_id="run-1"))
    return ref


def audit(*arguments: str) -> Result:
    return CliRunner().invoke(commands, ["audit", *arguments])


def test_a_chain_is_printed_as_text_as_json_and_as_a_page(table: TableRef, tmp_path: Path) -> None:
    text = audit(table.sha256[:10])
    assert text.exit_code == 0, text.output
    assert table.sha256 in text.stdout
    page = tmp_path / "page.html"
    found = audit(table.sha256, "--json", "--html", str(page))
    assert json.loads(found.stdout)["version"]["sha256"] == table.sha256
    assert table.sha256 in page.read_text()
    assert str(page) in found.stderr


def test_the_status_tells_whether_every_byte_is_as_it_was(table: TableRef, store: Store) -> None:
    assert audit(table.sha256, "--verify").exit_code == 0
    path = store.files.local_path(store.tables.path(table))
    path.write_bytes(path.read_bytes() + b"x")
    found = audit(table.sha256, "--verify")
    assert found.exit_code == 1
    assert re.search(rf"altered +table annotations +{re.escape(str(path))}", found.stdout)
    assert json.loads(audit(table.sha256, "--verify", "--json").stdout)["verification"]["amiss"] == [
        {"state": "altered", "kind": "table annotations", "path": str(path), "reason": ""}
    ]


def test_an_input_that_changed_since_is_named_and_counts_as_not_sound(
    table: TableRef, store: Store, tmp_path: Path
) -> None:
    source = FolderSource(name="faces", path=str(tmp_path), ratings=[RatingsFile(path="ratings.csv")])
    save_sources(store.home.sources_file, [source])
    declared = {"declarations": rating_declarations_fingerprint([source])}
    store.tables.point(Record(table, "4", {}, {}, external=declared, run_id="run-2"))
    assert audit(table.sha256, "--verify").exit_code == 0
    read_otherwise = [RatingsFile(path="ratings.csv", maximum=5)]
    save_sources(store.home.sources_file, [source.model_copy(update={"ratings": read_otherwise})])
    found = audit(table.sha256, "--verify")
    assert found.exit_code == 1
    assert re.search(
        rf"changed since +sources\.yaml.*{re.escape(str(store.home.sources_file))}", found.stdout
    )
    assert "materialize annotations again" in found.stdout


def test_a_chain_that_could_not_be_read_whole_is_not_sound(table: TableRef, store: Store) -> None:
    later = store.tables.write([], asset="annotations")
    store.tables.point(Record(later, "4", {}, {}, run_id="run-2"))
    for path in store.files.local_path("tables/annotations/all/records").iterdir():
        if json.loads(path.read_text())["ref"]["sha256"] == table.sha256:
            path.unlink()
    assert audit(table.sha256).exit_code == 0, "it is said, and only --verify judges"
    found = audit(table.sha256, "--verify")
    assert found.exit_code == 1
    assert "no record says what it was made from" in found.stdout


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [("--picture", IMAGE, "Who rated it"), ("--annotator", "ann", "Derived from annotator ann")],
)
def test_the_other_direction(table: TableRef, option: str, value: str, expected: str) -> None:
    found = audit(option, value)
    assert found.exit_code == 0, found.output
    assert expected in found.stdout
    assert table.sha256[:12] in found.stdout
    assert json.loads(audit(option, value, "--json").stdout)["pictures"] == [IMAGE]


@pytest.mark.parametrize(
    "arguments",
    [["--host", "a.example", "--url", "b"], ["scorer", "--host", "a.example"], ["--verify", "--source", "s"]],
)
def test_one_question_at_a_time(arguments: list[str]) -> None:
    found = audit(*arguments)
    assert found.exit_code == 2
    assert "Name one thing" in found.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "selfai-scorer: no model of this name is registered"),
        (["--source", "nobody"], "source nobody: no version of any table has a row of it"),
        (["--picture", "nothing.png"], "nothing.png: it is no file that can be read"),
    ],
)
def test_what_is_not_there_is_said(store: Store, arguments: list[str], message: str) -> None:
    found = audit(*arguments)
    assert isinstance(found.exception, InputError)
    assert message in str(found.exception)
