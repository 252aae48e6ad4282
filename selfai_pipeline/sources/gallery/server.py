"""Serves the rendered gallery on loopback, and nothing else."""

import email.utils
import errno
import hashlib
import http.client
import json
import logging
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import unquote, urlsplit

from selfai_pipeline.errors import InputError
from selfai_pipeline.home import Home
from selfai_pipeline.sources.gallery.settings import GallerySettings

logger = logging.getLogger("selfai.sources")

GALLERY_HOST = "127.0.0.1"
SERVED_FOLDER = "www"
REDIRECTS_FILE = "redirects.json"
RENDERER_VERSION = 1
"""Raised with every change of what is drawn, planned or rated: a gallery of before is then rendered anew."""

CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".jpg": "image/jpeg",
    ".png": "image/png",
}
REMEMBERED_REQUESTS = 10_000
IDLE_TIMEOUT_S = 30


def gallery_folder(home: Home, settings: GallerySettings) -> Path:
    """Where the gallery of these settings is rendered to; the port plays no part in it."""
    described = {"renderer": RENDERER_VERSION, **settings.model_dump(mode="json", exclude={"port"})}
    fingerprint = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
    return home.cache / "gallery" / fingerprint[:16]


@dataclass(frozen=True)
class Site:
    """The addresses that are answered, listed beforehand: no path of a request reaches the disk."""

    files: Mapping[str, Path]
    redirects: Mapping[str, str]

    @classmethod
    def of(cls, folder: Path) -> "Site":
        """Every regular file below the served folder; links are left out."""
        root = folder / SERVED_FOLDER
        files = {
            f"/{path.relative_to(root).as_posix()}": path
            for path in sorted(root.rglob("*"))
            if path.is_file() and not path.is_symlink()
        }
        for address in list(files):
            if address.endswith("/index.html"):
                files[address.removesuffix("index.html")] = files[address]
        return cls(files, json.loads((folder / REDIRECTS_FILE).read_text(encoding="utf-8")))


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD for the addresses of the site."""

    server: "_Server"
    protocol_version = "HTTP/1.1"
    server_version = "selfai-gallery"
    sys_version = ""
    timeout = IDLE_TIMEOUT_S
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        address = unquote(urlsplit(self.path).path)
        self.server.requests.append(address)
        if (target := self.server.site.redirects.get(address)) is not None:
            self._head(HTTPStatus.FOUND, {"Location": target, "Content-Length": "0"})
            return
        path = self.server.site.files.get(address)
        if path is None:
            self._head(HTTPStatus.NOT_FOUND, {"Content-Length": "0"})
            return
        content = path.read_bytes()
        modified = path.stat().st_mtime
        validators = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
            "Last-Modified": email.utils.formatdate(modified, usegmt=True),
        }
        if self._is_unchanged(validators["ETag"], modified):
            self._head(HTTPStatus.NOT_MODIFIED, validators)
            return
        self._head(
            HTTPStatus.OK,
            {
                "Content-Type": CONTENT_TYPES[path.suffix],
                "Content-Length": str(len(content)),
                "Cache-Control": "no-cache",
                "X-Content-Type-Options": "nosniff",
                **validators,
            },
        )
        if with_body:
            self.wfile.write(content)

    def _is_unchanged(self, etag: str, modified: float) -> bool:
        """Whether the client's copy is current: by ETag where it names one, else by date (RFC 9110)."""
        named = self.headers.get("If-None-Match")
        if named is not None:
            return named.strip() == "*" or etag in [
                one.strip().removeprefix("W/") for one in named.split(",")
            ]
        since = email.utils.parsedate_tz(self.headers.get("If-Modified-Since", ""))
        return since is not None and email.utils.mktime_tz(since) >= int(modified)

    def _head(self, status: HTTPStatus, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (named so by the base class)
        logger.debug(format, *args)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, site: Site) -> None:
        self.site = site
        self.requests: deque[str] = deque(maxlen=REMEMBERED_REQUESTS)
        super().__init__((GALLERY_HOST, port), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is nothing to report at length."""
        logger.debug("a request to the gallery broke off", exc_info=True)


def is_served(home: Home, settings: GallerySettings) -> bool:
    """Whether this very gallery is already served on its port (by `selfai up`, say)."""
    page = gallery_folder(home, settings) / SERVED_FOLDER / settings.days[0] / "index.html"
    connection = http.client.HTTPConnection(GALLERY_HOST, settings.port, timeout=5)
    try:
        connection.request("GET", f"/{settings.days[0]}/index.html")
        return connection.getresponse().read() == page.read_bytes()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class GalleryServer:
    """The gallery on 127.0.0.1; as a context manager it serves in a thread of its own.

    Args:
        home: where `prepare_sample` rendered the gallery.
        settings: the ones it was rendered with; port 0 takes a free one.

    Raises:
        InputError: the port is in use or may not be used, or the gallery of these settings is not rendered.
    """

    def __init__(self, home: Home, settings: GallerySettings) -> None:
        folder = gallery_folder(home, settings)
        if not folder.is_dir():
            raise InputError(
                "the sample gallery is not rendered with these settings",
                where=str(folder),
                mend="Make it with `selfai init`.",
            )
        try:
            self._server = _Server(settings.port, Site.of(folder))
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            raise InputError(
                "the port is in use" if error.errno == errno.EADDRINUSE else "the port may not be used",
                where=f"{GALLERY_HOST}:{settings.port}",
                mend="Stop the program that holds it, or set SELFAI_GALLERY_PORT to another port.",
            ) from error
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://{GALLERY_HOST}:{self.port}"

    @property
    def requests(self) -> list[str]:
        """The paths asked for, oldest first; the last 10,000."""
        return list(self._server.requests)

    def serve_forever(self) -> None:
        """Serve in this thread until it is interrupted."""
        logger.info("the sample gallery is served on port %d", self.port)
        try:
            self._server.serve_forever()
        finally:
            self._server.server_close()

    def __enter__(self) -> "GalleryServer":
        self._thread = threading.Thread(target=self._server.serve_forever, name="gallery", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        if self._thread is not None:
            self._thread.join()
