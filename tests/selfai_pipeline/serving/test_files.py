"""The file server shows previews and reports, and nothing else of the home."""

from fastapi.testclient import TestClient

from selfai_pipeline.home import Home
from selfai_pipeline.serving.files import files_app


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
