"""The annotation site under load: simulated annotators over a real server on loopback, killed in the middle.

`selfai annotate` serves 20,000 faces in a process of its own. Fifty annotators, each with a session, look at
the page and the crop, think for a second (exponentially distributed), and send a score. Half-way the server
is killed with SIGKILL and started again. Every score that was acknowledged (the answer to the form came) is
then looked up in the database: `lost` counts those that are not there as they were sent, `over_target` faces
with more annotators than wanted, `twice` an annotator's second first score of a face. `errors` counts answers
of the server that are not what they should be, and failed connections while it was up. Latencies are seen
from the client, over every page, crop and answer, without the time until the server answers again.

Then one annotator who has scored all of the 20,000 faces but a few, which lie anywhere in the order, asks for
these alone: the most that the choice of a face has to look through (`late_p95_ms`).

    python benchmarks/annotate.py [--quick] [--seconds 60] [--faces 20000] [--annotators 50]

Prints a table and, as its last line, one JSON object: `ratings`, `ratings_per_s`, `p50_ms`, `p95_ms`,
`late_p95_ms`, `lost`, `errors`, `over_target`, `twice`.
"""

import argparse
import asyncio
import contextlib
import importlib.metadata
import json
import os
import platform
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import cv2
import numpy as np
import sqlalchemy as sa

SEED = 20261129
CROPS = 32
CROP_SIDE = 224
LATE_FACES = 60
PASSED = {"completeness": True, "sanity": True, "quality_floor": True}
TOKEN = re.compile(r'name="token" value="([^"]+)"')
FORM = re.compile(r'name="form" value="([^"]+)"')


@dataclass
class Seen:
    """What the annotators saw: seconds by kind of request, acknowledged scores by token, troubles."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    acknowledged: dict[str, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    is_up: bool = True


def make_faces(home: Path, number: int) -> None:
    """A version of aligned_faces that passed its checks; so many faces share a few noisy crops."""
    import hashlib

    from selfai_pipeline.schemas import ALIGNED_FACES
    from selfai_pipeline.store import Store
    from selfai_pipeline.tables import Record

    store = Store.open(home)
    generator = np.random.default_rng(SEED)
    crops = []
    for _ in range(CROPS):
        small = generator.integers(0, 256, (28, 28, 3), dtype=np.uint8)
        large = cv2.resize(small, (CROP_SIDE, CROP_SIDE), interpolation=cv2.INTER_CUBIC)
        crops.append(store.crops.put(cv2.imencode(".png", large)[1].tobytes()))
    empty = dict.fromkeys(ALIGNED_FACES.names)
    rows = [
        {
            **empty,
            "image_id": hashlib.sha256(f"face {index}".encode()).hexdigest(),
            "face": 0,
            "source": "benchmark",
            "url": f"file:{index}.png",
            "faces_found": 1,
            "crop_sha256": crops[index % CROPS],
        }
        for index in range(number)
    ]
    ref = store.tables.write(rows, asset="aligned_faces", partition="2026-01-01")
    store.tables.point(Record(ref=ref, code_version="", settings={}, inputs={}))
    store.tables.judge(ref, PASSED)


class Server:
    """`selfai annotate` over a home, on a free port of loopback."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {**os.environ, "SELFAI_HOME": str(home), "OMP_NUM_THREADS": "1"}
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self) -> float:
        """Start it and wait until it answers; returns the seconds that this took."""
        began = time.monotonic()
        command = [sys.executable, "-c", "from selfai_pipeline.cli import main; main()"]
        self.process = subprocess.Popen(
            [*command, "annotate", "--port", str(self.port)],
            env=self.environment,
            stdout=subprocess.DEVNULL,
        )
        async with aiohttp.ClientSession() as session:
            while True:
                if self.process.poll() is not None:
                    raise SystemExit("the server ended by itself")
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"{self.url}/static/site.css"):
                        return time.monotonic() - began
                await asyncio.sleep(0.05)

    def kill(self, sign: int = signal.SIGKILL) -> None:
        assert self.process is not None
        self.process.send_signal(sign)
        self.process.wait()


class Annotator:
    """One simulated annotator with a session of their own."""

    def __init__(self, server: Server, link: str, seen: Seen, *, think_s: float, seed: int) -> None:
        self.server, self.link, self.seen, self.think_s = server, link, seen, think_s
        self.random = random.Random(seed)

    @contextlib.asynccontextmanager
    async def request(
        self, kind: str, session: Any, method: str, path: str, **more: Any
    ) -> AsyncIterator[Any]:
        """One request, timed; what it answers is read. A failed connection counts while the server is up."""
        began = time.perf_counter()
        was_up = self.seen.is_up
        try:
            async with session.request(
                method, f"{self.server.url}{path}", allow_redirects=False, **more
            ) as answer:
                body = await answer.read()
        except aiohttp.ClientError as error:
            if was_up and self.seen.is_up:
                self.seen.errors.append(f"{kind}: {error!r}")
            yield None, b""
            return
        if was_up and self.seen.is_up:
            self.seen.seconds.setdefault(kind, []).append(time.perf_counter() - began)
        yield answer.status, body

    async def score(self, session: Any) -> bool:
        """Look at what is shown and send a score; False where nothing is left."""
        async with self.request("page", session, "GET", "/") as (status, body):
            page = body.decode()
        if status is None:
            await asyncio.sleep(0.1)
            return True
        token, form = TOKEN.search(page), FORM.search(page)
        if status != 200 or form is None:
            self.seen.errors.append(f"page: {status}")
            return True
        if token is None:
            return False
        async with self.request("crop", session, "GET", f"/crop/{token[1]}") as (status, _):
            if status not in (200, None):
                self.seen.errors.append(f"crop: {status}")
        await asyncio.sleep(self.random.expovariate(1 / self.think_s) if self.think_s else 0)
        score = self.random.randrange(10)
        values = {"form": form[1], "token": token[1], "score": str(score)}
        async with self.request("answer", session, "POST", "/answer", data=values) as (status, _):
            if status == 303:
                self.seen.acknowledged.setdefault(token[1], score)
            elif status is not None:
                self.seen.errors.append(f"answer: {status}")
        return True

    async def work(self, until: float) -> None:
        """Sign in at some moment of the first two seconds, and score."""
        await asyncio.sleep(self.random.uniform(0, 2 * self.think_s))
        # Else a session would keep no cookie of an address without a name.
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as session:
            async with self.request("join", session, "POST", f"/join/{self.link}") as (status, _):
                if status != 303:
                    self.seen.errors.append(f"join: {status}")
                    return
            while time.monotonic() < until and await self.score(session):
                pass


async def under_load(home: Path, links: list[str], seen: Seen, *, seconds: float, think_s: float) -> float:
    """Let everybody score for so long, with a kill in the middle; returns the seconds of the restart."""
    server = Server(home)
    await server.start()
    until = time.monotonic() + seconds
    crowd = [
        Annotator(server, link, seen, think_s=think_s, seed=SEED + number)
        for number, link in enumerate(links)
    ]
    working = asyncio.gather(*(one.work(until) for one in crowd))
    await asyncio.sleep(seconds / 2)
    seen.is_up = False
    server.kill()
    restart = await server.start()
    # Whoever was asking when it went down asks again within a tenth of a second.
    await asyncio.sleep(0.3)
    seen.is_up = True
    await working
    server.kill(signal.SIGTERM)
    return restart


async def when_nearly_done(home: Path, link: str, seen: Seen) -> None:
    server = Server(home)
    await server.start()
    one = Annotator(server, link, seen, think_s=0, seed=SEED)
    await one.work(time.monotonic() + 60)
    server.kill(signal.SIGTERM)


def leave_few(database: Any, person: int) -> None:
    """Let an annotator have scored every face but a few, and every face want another annotator."""
    from selfai_pipeline.labels.site.database import answers, assignments, faces, now

    generator = random.Random(SEED)
    with database.writing() as connection:
        for table in (answers, assignments):
            connection.execute(sa.delete(table))
        connection.execute(sa.update(faces).values(taken=1, rated=1, target=2))
        numbers = sorted(connection.scalars(sa.select(faces.c.id)))
        left = set(generator.sample(numbers, min(LATE_FACES, len(numbers))))
        moment = now()
        rows = [
            {
                "token": f"done {number}",
                "person": person,
                "face": number,
                "kind": "new",
                "state": "rated",
                "score": 5,
                "expires_at": moment,
                "answered_at": moment - number,
            }
            for number in numbers
            if number not in left
        ]
        connection.execute(sa.insert(assignments), rows)


def check(database: Any, seen: Seen) -> dict[str, int]:
    """What became of every acknowledged score, and whether the policy held."""
    from selfai_pipeline.labels.site.database import assignments, faces

    with database.reading() as connection:
        kept = {
            row.token: row.score
            for row in connection.execute(sa.select(assignments).where(assignments.c.state == "rated"))
        }
        pairs = list(
            connection.execute(
                sa.select(assignments.c.person, assignments.c.face).where(
                    assignments.c.state == "rated", assignments.c.kind != "repeat"
                )
            )
        )
        over = connection.scalar(
            sa.select(sa.func.count()).select_from(faces).where(faces.c.taken > faces.c.target)
        )
    lost = sum(kept.get(token) != score for token, score in seen.acknowledged.items())
    return {"lost": lost, "over_target": over or 0, "twice": len(pairs) - len(set(pairs)), "kept": len(kept)}


def milliseconds(seconds: list[float], share: float) -> float:
    return round(1000 * float(np.quantile(seconds, share)), 1) if seconds else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="8 s, 20 annotators, 2,000 faces")
    parser.add_argument("--seconds", type=float, default=None)
    parser.add_argument("--faces", type=int, default=None)
    parser.add_argument("--annotators", type=int, default=None)
    parser.add_argument("--think", type=float, default=1.0, help="mean seconds that an annotator thinks")
    options = parser.parse_args()
    seconds = options.seconds or (8.0 if options.quick else 60.0)
    number = options.faces or (2000 if options.quick else 20_000)
    people = options.annotators or (20 if options.quick else 50)

    from selfai_pipeline.home import Home
    from selfai_pipeline.labels.site.database import SiteDatabase
    from selfai_pipeline.labels.site.people import invite
    from selfai_pipeline.labels.site.tokens import load_key

    seen, late = Seen(), Seen()
    with tempfile.TemporaryDirectory() as folder:
        home = Home.at(folder).create()
        make_faces(home.root, number)
        key = load_key(home.annotations_key)
        with SiteDatabase(home.annotations_url) as database:
            links = [invite(database, f"annotator {index}", key=key) for index in range(people)]
            restart = asyncio.run(under_load(home.root, links, seen, seconds=seconds, think_s=options.think))
            found = check(database, seen)
            # The first who was invited has the first number.
            leave_few(database, 1)
            asyncio.run(when_nearly_done(home.root, links[0], late))
            after = check(database, late)

    every = [one for kind in ("page", "crop", "answer") for one in seen.seconds.get(kind, [])]
    nearly_done = [one for kind in ("page", "crop", "answer") for one in late.seconds.get(kind, [])]
    versions = {name: importlib.metadata.version(name) for name in ("fastapi", "uvicorn", "SQLAlchemy")}
    print(f"{number} faces, {people} annotators, {seconds:g} s, thinking {options.think:g} s; seed {SEED}")
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {versions}")
    for kind in ("page", "crop", "answer"):
        times, last = seen.seconds.get(kind, []), late.seconds.get(kind, [])
        print(
            f"{kind:8} n {len(times):6}  p50 {milliseconds(times, 0.5):6} ms"
            f"  p95 {milliseconds(times, 0.95):6} ms  when nearly done p95 {milliseconds(last, 0.95):6} ms"
        )
    print(f"killed once, answered again after {restart:.1f} s; {len(seen.acknowledged)} scores acknowledged")
    for trouble in (seen.errors + late.errors)[:10]:
        print(trouble)
    result = {
        "ratings": len(seen.acknowledged),
        "ratings_per_s": round(len(seen.acknowledged) / seconds, 1),
        "p50_ms": milliseconds(every, 0.5),
        "p95_ms": milliseconds(every, 0.95),
        "late_p95_ms": milliseconds(nearly_done, 0.95),
        "late_ratings": len(late.acknowledged),
        "lost": found["lost"] + after["lost"],
        "errors": len(seen.errors) + len(late.errors),
        "over_target": found["over_target"] + after["over_target"],
        "twice": found["twice"] + after["twice"],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
