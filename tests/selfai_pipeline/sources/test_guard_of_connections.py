"""What a site cannot do: reach inside by a name, hold a download open, fill the memory; and a full disk."""

import asyncio
import datetime
import gzip
import hashlib
import io
import ipaddress
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import brotli
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from backports import zstd
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from PIL import Image

from selfai_pipeline.errors import StorageError
from selfai_pipeline.sources.address_guard import AddressRules
from selfai_pipeline.sources.connections import GuardedResolver
from selfai_pipeline.sources.crawl import crawl_day
from selfai_pipeline.sources.crawl_job import CrawlJob
from selfai_pipeline.sources.journal import Journal
from selfai_pipeline.sources.outcomes import Found
from selfai_pipeline.sources.refusals import NotFetched
from selfai_pipeline.sources.settings import CrawlSettings
from selfai_pipeline.storage import Storage
from selfai_pipeline.store import Store

DAY = "2026-01-01"
Crawl = Callable[..., Any]
Encode = Callable[..., bytes]


class Names(AbstractResolver):
    """A name service that gives one list of addresses after the other."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self.answers.pop(0)
        ]

    async def close(self) -> None:
        self.answers.clear()


def resolved(resolver: GuardedResolver, host: str = "rebinding.example", port: int = 80) -> list[str]:
    """The addresses that a connection would be opened to."""
    return [one["host"] for one in asyncio.run(resolver.resolve(host, port))]


def guarded(*answers: list[str]) -> GuardedResolver:
    rules = AddressRules.of(domains=["example"], denied_hosts=[], allowed_addresses=["127.0.0.1:8650"])
    return GuardedResolver(rules, Names(*answers))


def test_a_name_that_was_public_and_is_loopback_by_now_is_not_connected_to() -> None:
    resolver = guarded(["93.184.216.34"], ["127.0.0.1"], ["93.184.216.34"])
    assert resolved(resolver) == ["93.184.216.34"]
    with pytest.raises(NotFetched, match="private_address"):
        resolved(resolver)
    assert resolved(resolver) == ["93.184.216.34"]


def test_a_name_without_an_address_is_not_taken_for_a_refused_one() -> None:
    assert resolved(guarded([])) == []


def test_of_a_name_with_public_and_private_addresses_only_the_public_are_tried() -> None:
    mixed = ["10.0.0.1", "93.184.216.34", "::1", "64:ff9b::7f00:1", "2606:4700::1111", "169.254.169.254"]
    assert resolved(guarded(mixed)) == ["93.184.216.34", "2606:4700::1111"]


def test_an_allowance_holds_for_the_resolved_address_at_its_port() -> None:
    assert resolved(guarded(["127.0.0.1"]), port=8650) == ["127.0.0.1"]
    with pytest.raises(NotFetched, match="private_address"):
        resolved(guarded(["127.0.0.1"]), port=8651)


@pytest.mark.parametrize("name", ["localhost", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "127。0。0。1"])
def test_no_spelling_of_loopback_is_connected_to(
    jpeg: Encode, site: Any, internal_site: Any, crawl: Crawl, name: str
) -> None:
    internal_site.pages["/secret.jpg"] = jpeg(9)
    address = f"http://{name}:{internal_site.port}/secret.jpg"
    site.pages["/moved.jpg"] = (302, {"Location": address.encode().decode("latin-1")}, b"")
    site.index(address, "/moved.jpg", '<meta charset="utf-8">')
    crawled = crawl(site.source(allowed_domains=["127.0.0.1", name]), contact="me@example.org")
    assert crawled.reasons == {"/secret.jpg": "private_address", "/moved.jpg": "private_address"}
    assert internal_site.asked == []


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that nobody but its own key has signed, with that key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "certificate.pem"
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return path


def test_a_certificate_that_does_not_verify_ends_in_tls_failed(
    jpeg: Encode, site: Any, certificate: Path, crawl: Crawl, start_site: Callable[..., Any]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    secure = start_site(tls=context)
    secure.pages["/a.jpg"] = jpeg(1)
    site.pages |= {"/moved.jpg": (302, {"Location": f"https://127.0.0.1:{secure.port}/a.jpg"}, b"")}
    site.index(f"https://127.0.0.1:{secure.port}/a.jpg", "/moved.jpg")
    both = [f"127.0.0.1:{one.port}" for one in (site, secure)]
    crawled = crawl(site.source(allowed_addresses=both))
    assert crawled.reasons == {"/a.jpg": "tls_failed", "/moved.jpg": "tls_failed"}
    assert secure.asked == []


def drips_headers(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(1000):
        handler.wfile.write(f"X-{number}: y\r\n".encode())
        handler.wfile.flush()
        time.sleep(0.05)


def says_nothing(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(30)


def test_the_time_limit_is_for_the_whole_download(jpeg: Encode, site: Any, crawl: Crawl) -> None:
    site.dripping("/drips.jpg")
    site.pages |= {
        "/headers.jpg": drips_headers,
        "/silent.jpg": says_nothing,
        "/a.jpg": jpeg(1),
    }
    site.index("/drips.jpg", "/headers.jpg", "/silent.jpg", "/a.jpg")
    assert crawl(site.source(), timeout_s=2.0).reasons == {
        "/drips.jpg": "timeout",
        "/headers.jpg": "timeout",
        "/silent.jpg": "timeout",
        "/a.jpg": "stored",
    }


def test_headers_may_be_long_many_and_in_any_encoding(jpeg: Encode, site: Any, crawl: Crawl) -> None:
    many = {f"X-Header-{number}": "value" for number in range(200)}
    site.pages |= {
        "/named.jpg": (200, {"Content-Disposition": 'inline; filename="caf\xe9.jpg"'}, jpeg(1)),
        "/long.jpg": (200, {"Content-Security-Policy": "x" * 20_000}, jpeg(2)),
        "/many.jpg": (200, many, jpeg(3)),
        "/endless.jpg": (200, {"X-Header": "x" * 200_000}, jpeg(4)),
    }
    site.index(*site.pages)
    assert crawl(site.source()).reasons == {
        "/named.jpg": "stored",
        "/long.jpg": "stored",
        "/many.jpg": "stored",
        "/endless.jpg": "connection_lost",
    }


def test_a_site_that_only_announces_an_answer_is_hung_up_on(jpeg: Encode, site: Any, crawl: Crawl) -> None:
    hung_up = threading.Event()

    def announces(handler: BaseHTTPRequestHandler) -> None:
        try:
            while True:
                handler.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
        except OSError:
            hung_up.set()

    def announces_twice(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(2 * b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(jpeg(1))

    site.pages |= {"/endless.jpg": announces, "/hinted.jpg": announces_twice}
    site.index(*site.pages)
    # The test's own limit is shorter.
    crawled = crawl(site.source(), timeout_s=3000)
    assert crawled.reasons == {"/endless.jpg": "connection_lost", "/hinted.jpg": "stored"}
    assert hung_up.wait(10)


def test_no_socket_is_opened_to_an_address_that_nobody_let_through() -> None:
    resolver = guarded(["93.184.216.34"])
    address = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 80))
    with pytest.raises(PermissionError):
        resolver.open_socket(address)
    resolver.open_socket((*address[:4], ("127.0.0.1", 8650))).close()


MEASURED_CRAWL = """
import sys
from pathlib import Path
from selfai_pipeline.sources.crawl_process import main
status = main()
lines = Path("/proc/self/status").read_text().splitlines()
print(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
sys.exit(status)
"""


def peak_megabytes(site: Any, store: Store, settings: CrawlSettings, day: str) -> float:
    """The most memory that the process of one day's crawl had, in MB."""
    source = site.source()
    with Journal(store.home.journal_url) as journal:
        journal.discover("site", day, [Found(url, "page") for url in source.start_urls_of(day)], most=100)
    job = CrawlJob(day, source, settings, str(store.home.root), store.files.url)
    command = [sys.executable, "-c", MEASURED_CRAWL]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(job.to_json() + "\n")
        process.stdin.flush()
        peak = process.stdout.read().split()[-1]
        assert process.wait(timeout=200) == 0
    return int(peak) * 1024 / 1e6


def png_of(width: int, height: int) -> bytes:
    """A small file that says it has so many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(bytes(10_000_000)) for _ in range(20)) + packer.flush()
    chunks = [(b"IHDR", header), (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system tells no peak memory")
def test_bombs_cost_less_than_a_hundred_megabytes(jpeg: Encode, site: Any, store: Store) -> None:
    """400 MB in each body, and pictures of 40,000 by 40,000 pixels, with the limits of a crawl's defaults."""
    zeros = bytes(400_000_000)
    once = gzip.compress(zeros, 6)
    bombs = {
        "gzip": once,
        "gzip, gzip": gzip.compress(once),
        "deflate": zlib.compress(zeros, 6),
        "br": brotli.compress(zeros, quality=5),
        "zstd": zstd.compress(zeros, level=3),
    }
    picture = png_of(40_000, 40_000)
    wide = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(wide, "png")
    settings = CrawlSettings(requests_per_second=1000, retries=0)
    site.pages |= {f"/{number}.jpg": jpeg(number) for number in range(20)}
    site.index(*(f"/{number}.jpg" for number in range(20)))
    ordinary = peak_megabytes(site, store, settings, "2026-01-01")
    for number, (encoding, body) in enumerate(bombs.items()):
        for copy in range(4):
            site.pages[f"/bomb-{number}-{copy}.jpg"] = (200, {"Content-Encoding": encoding}, body)
    site.pages |= {f"/picture-{number}.png": picture for number in range(4)}
    site.pages |= {f"/wide-{number}.png": wide.getvalue() for number in range(4)}
    bad = [path for path in site.pages if path.startswith(("/bomb", "/picture", "/wide"))]
    letters = "\N{GRINNING FACE}" + "x" * 18_000_000
    links = "".join(f"<a href={number}>" for number in range(200_000))
    site.pages |= {
        name: (200, {"Content-Type": "text/html; charset=utf-8", "Content-Encoding": "gzip"}, packed)
        for name, packed in {
            "/letters": gzip.compress(letters.encode()),
            "/links": gzip.compress(links.encode()),
        }.items()
    }
    site.index(*bad, '<a href="/letters">1</a>', '<a href="/links">2</a>')
    hostile = peak_megabytes(site, store, settings, "2026-01-02")
    with Journal(store.home.journal_url) as journal:
        outcomes = {
            outcome.found.url.rpartition("/")[2]: outcome.reason
            for outcome in journal.outcomes("site", "2026-01-02")
        }
    assert outcomes["letters"] == "too_many_bytes"
    assert outcomes["links"] is None
    assert {outcomes[path[1:]] for path in bad if path.startswith("/bomb")} == {"too_many_bytes"}
    assert {outcomes[path[1:]] for path in bad if not path.startswith("/bomb")} == {"too_many_pixels"}
    assert hostile - ordinary < 100, f"{ordinary:.0f} MB with ordinary pictures, {hostile:.0f} MB with bombs"


def assert_whole(folder: Path) -> int:
    """Every file below the folder is one whole picture under its own hash; returns how many there are."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in files:
        assert path.name == hashlib.sha256(path.read_bytes()).hexdigest(), "something half-written is left"
    return len(files)


def bmp(seed: int) -> bytes:
    """A picture of 1.5 MB."""
    sink = io.BytesIO()
    Image.new("RGB", (1000, 500), (seed, 10 * seed, 0)).save(sink, "bmp")
    return sink.getvalue()


LARGE = {"max_bytes": 5_000_000, "max_pixels": 1_000_000}


def test_a_file_that_cannot_be_written_to_its_end_leaves_nothing_behind(
    jpeg: Encode,
    site: Any,
    store: Store,
    settings: CrawlSettings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The crawl's process may write files of 1 MB at most, as on a disk that fills in the middle of one."""
    site.pages |= {"/small.jpg": jpeg(1), "/large.bmp": bmp(1)}
    site.index("/small.jpg", "/large.bmp")
    limited = tmp_path / "limited"
    limited.write_text(f'#!/bin/sh\nulimit -f 2048\nexec {sys.executable} "$@"\n')
    limited.chmod(0o755)
    own = settings.model_copy(update=LARGE)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(limited))
        with pytest.raises(StorageError, match=r"cannot be written \(.*Free some space"):
            crawl_day(DAY, sources=[site.source()], store=store, settings=own)
    pictures = store.home.root / "pictures"
    assert assert_whole(pictures) <= 1
    ref = crawl_day(DAY, sources=[site.source()], store=store, settings=own)
    assert {row["status"] for row in store.tables.read(ref).to_pylist()} == {"stored"}
    assert assert_whole(pictures) == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A file system of its own, as large as it is called with; only root may have one."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def resize(size: str) -> Path:
        option = f"remount,size={size}" if folder.is_mount() else f"size={size}"
        command = ["mount", "-t", "tmpfs", "-o", option, "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("no file system can be mounted here")
        return folder

    yield resize
    if folder.is_mount():
        subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_stops_the_crawl_in_one_sentence_and_the_next_one_goes_on(
    site: Any, store: Store, settings: CrawlSettings, small_disk: Callable[[str], Path], tmp_path: Path
) -> None:
    site.pages |= {f"/{number}.bmp": bmp(number) for number in range(6)}
    site.index(*(f"/{number}.bmp" for number in range(6)))
    disk = small_disk("4m")
    full = Store(store.home, Storage(disk))
    own = settings.model_copy(update=LARGE)
    with pytest.raises(StorageError, match=r"No space left on device.*Free some space") as caught:
        crawl_day(DAY, sources=[site.source()], store=full, settings=own)
    assert len(str(caught.value).splitlines()) == 1
    kept = assert_whole(disk)
    assert 0 < kept < 6
    small_disk("64m")
    site.asked.clear()
    ref = crawl_day(DAY, sources=[site.source()], store=full, settings=own)
    assert len(site.asked) == 1 + 6 - kept
    assert assert_whole(disk / "pictures") == 6
    undisturbed = Store.open(store.home.at(tmp_path / "other").create())
    calm = crawl_day(DAY, sources=[site.source()], store=undisturbed, settings=own)
    tables = [
        one.tables.read(of).drop_columns(["fetched_at"]) for one, of in ((full, ref), (undisturbed, calm))
    ]
    assert tables[0].equals(tables[1])


def test_a_disk_too_full_for_the_journal_says_so_in_one_sentence(
    jpeg: Encode, site: Any, store: Store, settings: CrawlSettings, small_disk: Callable[[str], Path]
) -> None:
    site.pages |= {f"/{number}.jpg": jpeg(number) for number in range(200)}
    site.index(*(f"/{number}.jpg" for number in range(200)))
    disk = small_disk("300k")
    cramped = Store.open(store.home.at(disk / "home").create())
    with pytest.raises(StorageError, match="Free some space") as caught:
        crawl_day(DAY, sources=[site.source()], store=cramped, settings=settings)
    assert len(str(caught.value).splitlines()) == 1
    small_disk("64m")
    ref = crawl_day(DAY, sources=[site.source()], store=cramped, settings=settings)
    rows = cramped.tables.read(ref).to_pylist()
    assert (len(rows), {row["status"] for row in rows}) == (200, {"stored"})
