"""The file server shows previews and reports, and nothing else of the home."""

import pytest
from fastapi.testclient import TestClient

from selfai_pipeline.home import Home
from selfai_pipeline.serving.files import files_app
from selfai_pipeline.store import Store
from selfai_pipeline.tables import Record, TableRef


def test_previews_and_reports_are_served_with_strict_headers(home: Home) -> None:
    (home.previews / "sheet.png").write_bytes(b"png")
    (home.reports / "one").mkdir()
    (home.reports / "one" / "report.html").write_text("<p>report</p>")
    client = TestClient(files_app(home))
    answer = client.get("/previews/sheet.png")
    assert answer.content == b"png"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert client.get("/reports/one/report.html").text == "<p>report</p>"


def test_nothing_else_of_the_home_is_reached(home: Home) -> None:
    (home.root / "journal.sqlite").write_bytes(b"secret")
    client = TestClient(files_app(home))
    for path in ("/journal.sqlite", "/previews/../journal.sqlite", "/previews/%2e%2e/journal.sqlite", "/"):
        assert client.get(path).status_code == 404


@pytest.fixture
def version(home: Home) -> TableRef:
    tables = Store.open(home).tables
    ref = tables.write([], asset="annotations")
    tables.point(Record(ref, code_version="7", settings={"note": "<b>"}, inputs={}, run_id="run-1"))
    return ref


def test_the_audit_of_a_version_is_made_when_it_is_asked_for(home: Home, version: TableRef) -> None:
    answer = TestClient(files_app(home)).get(f"/audit/annotations/all/{version.sha256}")
    assert answer.status_code == 200
    assert version.sha256 in answer.text
    assert "run-1" in answer.text
    assert "&lt;b&gt;" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "path", ["annotations/all/{0}0", "annotations/2026-01-01/{0}", "%2e%2e/all/{0}", "no_such/all/{0}"]
)
def test_what_is_no_version_has_no_audit(home: Home, version: TableRef, path: str) -> None:
    client = TestClient(files_app(home))
    assert client.get(f"/audit/{path.format(version.sha256)}").status_code == 404


def test_a_registry_that_cannot_be_read_is_said(home: Home, version: TableRef) -> None:
    home.mlflow_database.write_bytes(b"no database, but something else that is long enough to be one" * 20)
    answer = TestClient(files_app(home)).get(f"/audit/annotations/all/{version.sha256}")
    assert answer.status_code == 503
    assert "MLflow's database cannot be read" in answer.text
