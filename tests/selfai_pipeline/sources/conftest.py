"""A small web site on loopback that does what sites do, the bad things included."""

import hashlib
import io
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from PIL import Image

from selfai_pipeline.sources.crawl import crawl_day
from selfai_pipeline.sources.settings import CrawlSettings, PagesSource
from selfai_pipeline.store import Store
from selfai_pipeline.tables import TableRef


def encode_jpeg(seed: int, *, width: int = 64, height: int = 48, **options: Any) -> bytes:
    """A JPEG whose content follows from its seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(coarse).resize((width, height)).save(sink, "jpeg", **options)
    return sink.getvalue()


def page_of(*links: str) -> bytes:
    """A page with a picture a link; a link that begins with a tag stands as it is."""
    tags = [link if link.startswith("<") else f'<img src="{link}">' for link in links]
    return f"<html><body>{''.join(tags)}</body></html>".encode()


Handler = Callable[[BaseHTTPRequestHandler], None]
Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Visit:
    """A request as the site saw it, when (seconds of a clock), and the status it was answered with."""

    path: str
    headers: Message
    moment_s: float
    status: int | None = None

    @property
    def is_conditional(self) -> bool:
        return "If-None-Match" in self.headers or "If-Modified-Since" in self.headers


@dataclass
class Site:
    """Pages by path: bytes, (status, headers, body), or a function that answers by itself."""

    pages: dict[str, bytes | Answer | Handler] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)
    agents: set[str] = field(default_factory=set)
    port: int = 0
    address: str = "127.0.0.1"

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.port}"

    def index(self, *links: str, path: str = "/") -> None:
        """A page at `path` with a picture a link; a link that begins with a tag stands as it is."""
        self.pages[path] = (200, {"Content-Type": "text/html"}, page_of(*links))

    def dated(self, path: str, body: bytes, **headers: str) -> None:
        """A page with an ETag, or with the validator that is named, which it holds requests against."""
        validators = headers or {"ETag": f'"{hashlib.sha256(body).hexdigest()[:16]}"'}

        def answer(handler: BaseHTTPRequestHandler) -> None:
            known = (handler.headers["If-None-Match"], handler.headers["If-Modified-Since"])
            is_news = not any(value in known for value in validators.values())
            handler.send_response(200 if is_news else 304)
            for name, value in validators.items():
                handler.send_header(name, value)
            if body.startswith(b"<html>"):
                handler.send_header("Content-Type", "text/html")
            handler.send_header("Content-Length", str(len(body) if is_news else 0))
            handler.end_headers()
            handler.wfile.write(body if is_news else b"")

        self.pages[path] = answer

    def dated_index(self, path: str, *links: str) -> None:
        """As `index`, with an ETag."""
        self.dated(path, page_of(*links))

    def dripping(self, path: str) -> None:
        """A body that comes a byte at a time, each in time for whoever waits for the next byte only."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", "1000")
            handler.end_headers()
            for _ in range(1000):
                handler.wfile.write(b"x")
                handler.wfile.flush()
                time.sleep(0.05)

        self.pages[path] = answer

    def source(self, **values: Any) -> PagesSource:
        defaults: dict[str, Any] = {
            "name": "site",
            "start_urls": [f"{self.url}/?{{day}}"],
            "allowed_addresses": [f"{self.address}:{self.port}"],
        }
        return PagesSource(**{**defaults, **values})


def serve(site: Site, *, tls: ssl.SSLContext | None = None) -> ThreadingHTTPServer:
    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.visit = Visit(self.path, self.headers, time.monotonic())
            site.visits.append(self.visit)
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

        def send_response(self, code: int, message: str | None = None) -> None:
            self.visit.status = code
            super().send_response(code, message)

        def log_message(self, *_: Any) -> None:
            pass

    class QuietServer(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: Any) -> None:
            """A client that hangs up, as the crawler does on bodies that are too large, is no trouble."""

    server = QuietServer((site.address, 0), Answering)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    site.port = server.server_port
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return server


@pytest.fixture
def start_site() -> Iterator[Callable[..., Site]]:
    """Starts one more site, with `tls` behind TLS, at another address of this machine where one is given."""
    servers = []

    def start(address: str = "127.0.0.1", **options: Any) -> Site:
        one = Site(address=address)
        servers.append(serve(one, **options))
        return one

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def site(start_site: Callable[..., Site]) -> Site:
    return start_site()


@pytest.fixture
def internal_site(start_site: Callable[..., Site]) -> Site:
    """A second server, which no source allows: nothing may ever reach it."""
    return start_site()


@pytest.fixture
def jpeg() -> Callable[..., bytes]:
    return encode_jpeg


@pytest.fixture
def settings() -> CrawlSettings:
    return CrawlSettings(
        requests_per_second=1000, retries=0, timeout_s=5, max_bytes=100_000, max_pixels=10_000
    )


@dataclass(frozen=True)
class Crawled:
    """The table of one day: its rows, and what came of each address by what follows the host."""

    ref: TableRef
    rows: list[dict[str, Any]]

    @property
    def reasons(self) -> dict[str, str]:
        return {_path(row["url"]): row["reason"] or row["status"] for row in self.rows}

    @property
    def statuses(self) -> dict[str, str]:
        return {_path(row["url"]): row["status"] for row in self.rows}


def _path(url: str) -> str:
    return f"/{url.split('/', 3)[3]}" if url.startswith("http") else url


@pytest.fixture
def crawl(store: Store, settings: CrawlSettings) -> Callable[..., Crawled]:
    """Crawls a day of some sources; keywords change the settings."""

    def run(*sources: PagesSource, day: str = "2026-01-01", **limits: Any) -> Crawled:
        own = CrawlSettings.model_validate({**settings.model_dump(), **limits})
        ref = crawl_day(day, sources=list(sources), store=store, settings=own)
        return Crawled(ref, store.tables.read(ref).to_pylist())

    return run
