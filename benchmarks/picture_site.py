"""A quick web site of pictures on loopback, for `crawl.py`: it costs a small part of what a client costs.

    python benchmarks/picture_site.py PICTURES SIDE SEED

Prints its address, the one of a second server that nobody may be led to, and the mean bytes of a picture;
then answers until its standard input is closed. Paths:

- /pictures/N.jpg: a picture, each of its own content;
- /private/N.jpg: a picture that robots.txt forbids to ask for;
- /inside/N.jpg: leads to the second server;
- /reserved/N.jpg: a picture with `X-Robots-Tag: noai`;
- /counts: how often what was asked, by the first part of the path; `second server`: connections to it.
"""

import asyncio
import json
import sys
from collections import Counter

import cv2
import numpy as np

ROBOTS = b"User-agent: *\nDisallow: /private/\nDisallow: /counts\n"
BASES = 40


def pictures(count: int, side: int, seed: int) -> list[bytes]:
    """JPEGs of smooth colours, film grain and a number."""
    generator = np.random.default_rng(seed)
    bases = []
    for _ in range(BASES):
        coarse = generator.integers(0, 256, (side // 32, side // 32, 3), dtype=np.uint8)
        smooth = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.int16)
        grain = generator.integers(-6, 7, smooth.shape, dtype=np.int16)
        bases.append(np.clip(smooth + grain, 0, 255).astype(np.uint8))
    made = []
    for number in range(count):
        pixels = bases[number % BASES].copy()
        cv2.putText(pixels, str(number), (10, 40), cv2.FONT_HERSHEY_SIMPLEX, 1, (255, 255, 255), 2)
        made.append(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes())
    return made


class Site:
    """What is answered to a path."""

    def __init__(self, made: list[bytes]) -> None:
        self.made = made
        self.inside_port = 0
        self.asked: Counter[str] = Counter()

    def answer(self, path: str) -> bytes:
        kind, _, name = path.removeprefix("/").partition("/")
        self.asked[kind] += 1
        if path == "/robots.txt":
            return _answer("200 OK", ROBOTS, "Content-Type: text/plain")
        if path == "/counts":
            return _answer("200 OK", json.dumps(self.asked).encode(), "Content-Type: application/json")
        if kind == "inside":
            return _answer("302 Found", b"", f"Location: http://127.0.0.1:{self.inside_port}/{name}")
        if kind not in ("pictures", "private", "reserved"):
            return _answer("404 Not Found", b"")
        lines = ["Content-Type: image/jpeg", *(["X-Robots-Tag: noai"] if kind == "reserved" else [])]
        return _answer("200 OK", self.made[int(name.removesuffix(".jpg"))], *lines)


def _answer(status: str, body: bytes, *lines: str) -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *lines])
    return head.encode() + b"\r\n\r\n" + body


class Connection(asyncio.Protocol):
    def __init__(self, site: Site) -> None:
        self.site = site
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        while b"\r\n\r\n" in self.received:
            head, _, self.received = self.received.partition(b"\r\n\r\n")
            self.transport.write(self.site.answer(head.split(b" ", 2)[1].decode("latin-1")))
            if b"connection: close" in head.lower():
                self.transport.close()
                return


class Inside(asyncio.Protocol):
    """Counts whoever gets here."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self.site.asked["second server"] += 1
        transport.close()


async def serve(site: Site) -> None:
    loop = asyncio.get_running_loop()
    inside = await loop.create_server(lambda: Inside(site), "127.0.0.1", 0)
    outside = await loop.create_server(lambda: Connection(site), "127.0.0.1", 0, backlog=2048)
    site.inside_port = inside.sockets[0].getsockname()[1]
    address = f"127.0.0.1:{outside.sockets[0].getsockname()[1]}"
    mean = sum(map(len, site.made)) / len(site.made)
    print(json.dumps({"address": address, "inside_port": site.inside_port, "mean_bytes": mean}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(Site(pictures(*map(int, sys.argv[1:])))))
