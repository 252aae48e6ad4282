"""One site with all that a crawl meets: what may be had is stored, what may not is never asked for."""

import gzip
import struct
import threading
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from PIL import Image

from selfai_pipeline.store import Store

Crawl = Callable[..., Any]
Encode = Callable[..., bytes]


def to(location: str) -> tuple[int, dict[str, str], bytes]:
    return 302, {"Location": location}, b""


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "image/jpeg")
    handler.end_headers()
    while True:
        handler.wfile.write(b"\xff\xd8\xff\xe0" + bytes(60_000))


def breaks_off(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "5000")
    handler.end_headers()
    handler.wfile.write(b"\xff\xd8\xff\xe0")


def at_first(site: Any, status: int, body: bytes, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """Answers with `status` the first time, and with the picture from then on."""
    lock, refused = threading.Lock(), []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        with lock:
            is_first = not refused
            refused.append(True)
        handler.send_response(status if is_first else 200)
        for name, value in headers.items() if is_first else ():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0" if is_first else str(len(body)))
        handler.end_headers()
        handler.wfile.write(b"" if is_first else body)

    return answer


def png_bomb() -> bytes:
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1_000_000))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


@pytest.fixture
def good(jpeg: Encode, site: Any) -> set[str]:
    """Addresses behind which there is a picture that may be had."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "SECRET CAMERA"
    site.dated("/a.jpg", jpeg(1))
    site.dated("/copy-of-a.jpg", jpeg(1))
    site.dated("/dated.jpg", jpeg(2), **{"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"})
    site.dated("/upright.jpg", jpeg(3, exif=exif))
    site.dated("/end-of-chain.jpg", jpeg(4))
    site.dated("/deep.jpg", jpeg(5))
    site.pages |= {
        "/no-validator.jpg": jpeg(6),
        "/wrong-type": (200, {"Content-Type": "text/html"}, jpeg(7)),
        "/packed.jpg": (200, {"Content-Encoding": "gzip"}, gzip.compress(jpeg(8))),
        "/chain-1.jpg": to("/chain-2.jpg"),
        "/chain-2.jpg": to("/chain-3.jpg"),
        "/chain-3.jpg": to("/end-of-chain.jpg"),
        "/flaky.jpg": at_first(site, 500, jpeg(9)),
        "/busy.jpg": at_first(site, 429, jpeg(10), Retry_After="1"),
        "/other-crawler.jpg": (200, {"X-Robots-Tag": "googlebot: noindex, noai"}, jpeg(11)),
        "/allowed/in-private.jpg": jpeg(12),
    }
    return {
        *("/a.jpg", "/copy-of-a.jpg", "/dated.jpg", "/upright.jpg", "/deep.jpg", "/no-validator.jpg"),
        *("/wrong-type", "/packed.jpg", "/chain-1.jpg", "/flaky.jpg", "/busy.jpg", "/other-crawler.jpg"),
        "/allowed/in-private.jpg",
    }


@pytest.fixture
def bad(jpeg: Encode, site: Any) -> dict[str, str]:
    """Addresses of the site that give no picture, and why."""
    site.dripping("/drips.jpg")
    site.pages |= {
        "/html.jpg": (200, {"Content-Type": "image/jpeg"}, b"<html>no</html>"),
        "/text.jpg": (200, {"Content-Type": "text/plain"}, b"no picture"),
        "/empty.jpg": b"",
        "/truncated.jpg": jpeg(20)[:-200],
        "/many-pixels.jpg": jpeg(21, width=300, height=300),
        "/many-bytes.jpg": jpeg(22) + bytes(200_000),
        "/endless.jpg": endless,
        "/gzip-bomb.jpg": (200, {"Content-Encoding": "gzip"}, gzip.compress(bytes(50_000_000))),
        "/picture-bomb.png": png_bomb(),
        "/breaks-off.jpg": breaks_off,
        "/loop.jpg": to("/loop-back.jpg"),
        "/loop-back.jpg": to("/loop.jpg"),
        "/to-file.jpg": to("file:///etc/hostname"),
        "/to-data.jpg": to("data:image/png;base64,AAAA"),
        "/error.jpg": (500, {}, b""),
        "/noai.jpg": (200, {"X-Robots-Tag": "noai"}, jpeg(23)),
        "/noimageai.jpg": (200, {"X-Robots-Tag": "selfai: noimageai"}, jpeg(24)),
        "/noindex.jpg": (200, {"X-Robots-Tag": "none"}, jpeg(25)),
        "/reserved.jpg": (200, {"TDM-Reservation": "1"}, jpeg(26)),
    }
    return {
        "/html.jpg": "not_a_picture",
        "/text.jpg": "not_a_picture",
        "/empty.jpg": "empty_file",
        "/truncated.jpg": "truncated",
        "/many-pixels.jpg": "too_many_pixels",
        "/many-bytes.jpg": "too_many_bytes",
        "/endless.jpg": "too_many_bytes",
        "/gzip-bomb.jpg": "too_many_bytes",
        "/picture-bomb.png": "too_many_pixels",
        "/drips.jpg": "timeout",
        "/breaks-off.jpg": "connection_lost",
        "/loop.jpg": "too_many_redirects",
        "/to-file.jpg": "unsupported_scheme",
        "/to-data.jpg": "unsupported_scheme",
        "/error.jpg": "http_500",
        "/gone.jpg": "http_404",
        "/noai.jpg": "noai",
        "/noimageai.jpg": "noimageai",
        "/noindex.jpg": "noindex",
        "/reserved.jpg": "tdm_reservation",
    }


@pytest.fixture
def forbidden(jpeg: Encode, site: Any, internal_site: Any) -> dict[str, str]:
    """Addresses that may not be asked at all, and why."""
    site.pages["/robots.txt"] = (
        b"User-agent: *\nDisallow: /\n\n"
        b"User-agent: selfai\nDisallow: /private/\nAllow: /allowed/\nCrawl-delay: 0.01\n"
    )
    secret = f"{internal_site.url}/secret.jpg"
    internal_site.pages |= dict.fromkeys(["/secret.jpg", "/robots.txt", "/"], jpeg(30))
    site.pages |= {
        "/private/b.jpg": jpeg(31),
        "/to-private.jpg": to("/private/b.jpg"),
        "/to-internal.jpg": to(secret),
        "/to-internal-late.jpg": to("/to-internal.jpg"),
        "/to-metadata.jpg": to("http://169.254.169.254/latest"),
        "/to-elsewhere.jpg": to("http://pictures.example.org/a.jpg"),
        "/to-password.jpg": to(f"http://ann:secret@127.0.0.1:{site.port}/a.jpg"),
    }
    port = internal_site.port
    return {
        "/private/b.jpg": "robots",
        "/to-private.jpg": "robots",
        "/to-internal.jpg": "private_address",
        "/to-internal-late.jpg": "private_address",
        "/to-metadata.jpg": "private_address",
        "/to-elsewhere.jpg": "foreign_domain",
        "/to-password.jpg": "password_in_address",
        secret: "private_address",
        f"http://localhost:{port}/by-name.jpg": "private_address",
        f"http://2130706433:{port}/decimal.jpg": "private_address",
        f"http://0x7f.1:{port}/short.jpg": "private_address",
        f"http://0177.0.0.1:{port}/octal.jpg": "private_address",
        f"http://[::ffff:127.0.0.1]:{port}/mapped.jpg": "private_address",
        f"http://[64:ff9b::7f00:1]:{port}/translated.jpg": "private_address",
        "http://169.254.169.254/metadata.jpg": "private_address",
        "http://elsewhere.example/x.jpg": "foreign_domain",
        "http://denied.localhost/x-denied.jpg": "denied_host",
        "file:///etc/hostname.jpg": "unsupported_scheme",
        "ftp://127.0.0.1/by-ftp.jpg": "unsupported_scheme",
        "data:image/png;base64,AAAA": "unsupported_scheme",
        "http://[::1/malformed.jpg": "malformed_address",
    }


def test_all_that_may_be_had_is_stored_and_nothing_forbidden_is_asked_and_then_only_news(
    site: Any,
    internal_site: Any,
    good: set[str],
    bad: dict[str, str],
    forbidden: dict[str, str],
    crawl: Crawl,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A proxy would be asked in place of the guarded addresses.
    monkeypatch.setenv("http_proxy", f"{internal_site.url}/")
    monkeypatch.setenv("ALL_PROXY", f"{internal_site.url}/")
    pictures = sorted([*good - {"/deep.jpg"}, *bad, *forbidden])
    site.index("/deep.jpg", path="/deep")
    site.index('<meta name="robots" content="noai">', "/hidden.jpg", path="/reserved-page")
    pages = ['<a href="/deep">deep</a>', '<a href="/reserved-page">reserved</a>']
    site.index(*pictures, *pages)
    source = site.source(allowed_domains=["127.0.0.1", "localhost"], licence="CC0")
    limits = {"retries": 1, "timeout_s": 3.0, "deny_hosts": ["denied.localhost"]}

    first = crawl(source, **limits)

    assert internal_site.asked == [], "not one request reached what is not open to the world"
    expected = {**dict.fromkeys(good, "stored"), **bad, **forbidden, "/reserved-page": "noai"}
    by_name = {name.rpartition("/")[2]: reason for name, reason in expected.items() if "AAAA" not in name}
    found = {row["url"].rpartition("/")[2]: row["reason"] or row["status"] for row in first.rows}
    embedded = found.pop(next(name for name in found if name.startswith("data:")))
    assert (found, embedded) == (by_name, "unsupported_scheme")
    assert not {"/private/b.jpg", "/hidden.jpg", "/third"} & set(site.asked)
    assert site.asked.count("/robots.txt") == 1
    assert site.asked.count("/loop.jpg") + site.asked.count("/loop-back.jpg") == 6
    assert [row["url"] for row in first.rows] == sorted(row["url"] for row in first.rows)
    facts = store.tables.facts(first.ref)
    assert (facts["state"], facts["counts"]["stored"]) == ("crawled", len(good))
    assert sum(facts["counts"].values()) == first.ref.rows
    rows = {row["url"].rpartition("/")[2]: row for row in first.rows}
    assert rows["a.jpg"]["image_id"] == rows["copy-of-a.jpg"]["image_id"]
    upright = rows["upright.jpg"]
    stored = store.pictures.get(upright["image_id"])
    assert b"SECRET" not in stored
    assert upright["fetched_sha256"] != upright["image_id"]
    described = ("format", "width", "height", "orientation", "bytes", "licence", "attributes")
    assert [upright[name] for name in described] == [
        *("jpeg", 64, 48, 6, len(stored), "CC0"),
        '{"name": "upright.jpg"}',
    ]

    later = crawl(source, day="2026-01-02", **limits)

    assert internal_site.asked == []
    statuses = {path: later.statuses[path] for path in good}
    assert statuses == dict.fromkeys(good, "unchanged")
    again = {visit.path: visit for visit in site.visits}
    for path in ("/a.jpg", "/copy-of-a.jpg", "/dated.jpg", "/upright.jpg", "/end-of-chain.jpg", "/deep.jpg"):
        assert (again[path].is_conditional, again[path].status) == (True, 304)
    asked = list(site.asked)
    assert crawl(source, day="2026-01-02", **limits).ref == later.ref
    # Failures are tried again, and nothing else.
    tried = {"/error.jpg", "/drips.jpg", "/breaks-off.jpg", "/robots.txt"}
    assert set(site.asked[len(asked) :]) == tried
