import http.client
import logging
from collections.abc import Iterator

import pytest

from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home
from selfai_pipeline.sources.gallery.plan import Item, Kind, plan_gallery
from selfai_pipeline.sources.gallery.server import GalleryServer, is_served
from selfai_pipeline.sources.gallery.settings import GallerySettings


@pytest.fixture
def server(tiny_home: Home, tiny_settings: GallerySettings) -> Iterator[GalleryServer]:
    with GalleryServer(tiny_home, tiny_settings) as running:
        yield running


@pytest.fixture
def items(tiny_settings: GallerySettings) -> dict[Kind, Item]:
    return {item.kind: item for item in plan_gallery(tiny_settings)["2026-01-01"]}


def ask(
    server: GalleryServer, path: str, *, method: str = "GET", headers: dict[str, str] | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    """One request, sent as it stands: nothing is normalised and no redirect is followed."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def test_a_day_lists_every_picture_with_relative_links(
    server: GalleryServer, tiny_settings: GallerySettings
) -> None:
    response, body = ask(server, "/2026-01-01/index.html")
    text = body.decode()
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    for item in plan_gallery(tiny_settings)["2026-01-01"]:
        link = item.name if item.kind is not Kind.FORBIDDEN else f"../private/{item.name}"
        assert f'<a href="{link}"><img src="{link}"' in text


@pytest.mark.parametrize("path", ["/", "/index.html", "/2026-01-01/", "/2026-01-02/index.html"])
def test_every_page_says_that_it_is_rendered_and_simulated(server: GalleryServer, path: str) -> None:
    response, body = ask(server, path)
    assert response.status == 200
    assert b"rendered by a program" in body
    assert b"simulated" in body


def test_robots_forbid_the_private_folder(server: GalleryServer) -> None:
    _, body = ask(server, "/robots.txt")
    assert body == b"User-agent: *\nDisallow: /private/\n"


def test_a_link_redirects_to_a_private_address(server: GalleryServer, items: dict[Kind, Item]) -> None:
    response, body = ask(server, f"/{items[Kind.REDIRECT].path}")
    assert response.status == 302
    assert response.headers["Location"].startswith("http://10.0.0.1/")
    assert body == b""


def test_an_unchanged_picture_is_not_sent_again(server: GalleryServer, items: dict[Kind, Item]) -> None:
    path = f"/{items[Kind.PORTRAIT].path}"
    response, body = ask(server, path)
    assert response.headers["Content-Type"] == "image/jpeg"
    assert response.headers["Last-Modified"] == "Thu, 01 Jan 2026 12:00:00 GMT"
    for name, value in (
        ("If-None-Match", response.headers["ETag"]),
        ("If-None-Match", f'"other", W/{response.headers["ETag"]}'),
        ("If-Modified-Since", response.headers["Last-Modified"]),
    ):
        again, nothing = ask(server, path, headers={name: value})
        assert (again.status, nothing) == (304, b"")
    for name, value in (
        ("If-None-Match", '"other"'),
        ("If-Modified-Since", "Wed, 31 Dec 2025 12:00:00 GMT"),
        ("If-Modified-Since", "not a date"),
    ):
        again, whole = ask(server, path, headers={name: value})
        assert (again.status, whole) == (200, body)


def test_head_answers_without_a_body(server: GalleryServer, items: dict[Kind, Item]) -> None:
    response, body = ask(server, f"/{items[Kind.PORTRAIT].path}", method="HEAD")
    assert response.status == 200
    assert int(response.headers["Content-Length"]) > 1000
    assert body == b""


@pytest.mark.parametrize(
    "path",
    [
        "/../portraits.json",
        "/%2e%2e/portraits.json",
        "/..%2fredirects.json",
        "//etc/passwd",
        "/../../../../../../../../etc/passwd",
        "/2026-01-01",
        "/no-such.jpg",
        "/%00",
    ],
)
def test_nothing_outside_of_the_served_folder_is_reached(server: GalleryServer, path: str) -> None:
    response, body = ask(server, path)
    assert (response.status, body) == (404, b"")


def test_it_remembers_what_was_asked_for_and_logs_nothing_at_info(
    server: GalleryServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        ask(server, "/robots.txt?query")
        ask(server, "/private/x.jpg")
    assert server.requests == ["/robots.txt", "/private/x.jpg"]
    assert not caplog.records


def test_a_port_in_use_is_named_with_the_mend(
    server: GalleryServer, tiny_home: Home, tiny_settings: GallerySettings
) -> None:
    with pytest.raises(InputError, match=f"127.0.0.1:{server.port}: the port is in use") as caught:
        GalleryServer(tiny_home, tiny_settings.model_copy(update={"port": server.port}))
    assert "set SELFAI_GALLERY_PORT to another port" in caught.value.mend


def test_a_gallery_that_is_not_rendered_is_an_error(home: Home, tiny_settings: GallerySettings) -> None:
    with pytest.raises(InputError, match="selfai init"):
        GalleryServer(home, tiny_settings)


def test_a_gallery_knows_whether_it_is_already_served(
    tiny_home: Home, tiny_settings: GallerySettings
) -> None:
    with GalleryServer(tiny_home, tiny_settings) as server:
        running = tiny_settings.model_copy(update={"port": server.port})
        assert is_served(tiny_home, running)
    assert not is_served(tiny_home, running)
