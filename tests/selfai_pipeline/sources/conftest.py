"""A small web site on loopback that does what sites do, the bad things included."""

import io
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from PIL import Image

from selfai_pipeline.sources.settings import CrawlSettings, PagesSource


def encode_jpeg(seed: int, *, width: int = 64, height: int = 48, **options: Any) -> bytes:
    """A JPEG whose content follows from its seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(coarse).resize((width, height)).save(sink, "jpeg", **options)
    return sink.getvalue()


Handler = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Site:
    """Pages by path: bytes, (status, headers, body), or a function that answers by itself."""

    pages: dict[str, bytes | tuple[int, dict[str, str], bytes] | Handler] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    agents: set[str] = field(default_factory=set)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def index(self, *links: str, path: str = "/") -> None:
        """A page at `path` with a picture a link; a link that begins with a tag stands as it is."""
        tags = [link if link.startswith("<") else f'<img src="{link}">' for link in links]
        body = f"<html><body>{''.join(tags)}</body></html>".encode()
        self.pages[path] = (200, {"Content-Type": "text/html"}, body)

    def source(self, **values: Any) -> PagesSource:
        defaults: dict[str, Any] = {
            "name": "site",
            "start_urls": [f"{self.url}/?{{day}}"],
            "allowed_addresses": [f"127.0.0.1:{self.port}"],
        }
        return PagesSource(**{**defaults, **values})


def serve(site: Site) -> ThreadingHTTPServer:
    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            site.asked.append(self.path)
            site.agents.add(self.headers["User-Agent"])
            page = site.pages.get(self.path, site.pages.get(self.path.partition("?")[0]))
            if callable(page):
                self.close_connection = True
                page(self)
                return
            if page is None:
                page = (404, {}, b"there is nothing here")
            status, headers, body = page if isinstance(page, tuple) else (200, {}, page)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    class QuietServer(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: Any) -> None:
            """A client that hangs up, as the crawler does on bodies that are too large, is no trouble."""

    server = QuietServer(("127.0.0.1", 0), Answer)
    site.port = server.server_port
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return server


@pytest.fixture
def site() -> Iterator[Site]:
    one = Site()
    server = serve(one)
    yield one
    server.shutdown()
    server.server_close()


@pytest.fixture
def internal_site() -> Iterator[Site]:
    """A second server, which no source allows: nothing may ever reach it."""
    one = Site()
    server = serve(one)
    yield one
    server.shutdown()
    server.server_close()


@pytest.fixture
def jpeg() -> Callable[..., bytes]:
    return encode_jpeg


@pytest.fixture
def settings() -> CrawlSettings:
    return CrawlSettings(
        requests_per_second=1000, retries=0, timeout_s=5, max_bytes=100_000, max_pixels=10_000
    )
