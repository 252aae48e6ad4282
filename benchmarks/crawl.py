"""The crawl against img2dataset: pictures a second on one loopback server; its memory and its manners.

Both get the same list of addresses and the same cores, in turns, and are timed from the start of a process to
its end. Every guard of Selfai is on: robots.txt, the address guard, limits, reservations, throttling (set so
high that this server is not spared), journal, metadata stripped, files synced to the disk. img2dataset runs
with a process a core and as many threads as Selfai has requests under way, and writes WebDataset shards:

- `checked`: pictures are decoded to be checked and measured, and kept as they came (`--resize_mode no`); the
  work that comes nearest to Selfai's, which checks every file's structure and measures it;
- `resized`: its default, which resizes to 256 pixels and encodes anew;
- `unseen`: bytes are written as they came and never looked at (`--disable_all_reencoding`).

Then Selfai alone: a list with forbidden addresses among the others (`forbidden_fetched` counts those that the
server was asked for although robots.txt forbids it, connections to a private address, and reserved pictures
that were stored), and its peak memory at a tenth of the pictures and at all of them (`rss_growth`).

    make rivals
    python benchmarks/crawl.py [--quick]

Prints a table and, as its last line, one JSON object: `vs_img2dataset` (its seconds over ours, `checked`),
`vs_img2dataset_resized`, `vs_img2dataset_unseen`, `pictures_per_s`, `rss_growth`, `forbidden_fetched`.
"""

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from selfai_pipeline.environment import usable_cores

SEED = 20261129
SIDE = 512
UNDER_WAY = 32
FORBIDDEN_EVERY = 50
RIVALS = Path(__file__).resolve().parent.parent / ".venv-rivals" / "bin" / "img2dataset"
WAYS = {
    "checked": ["--resize_mode", "no"],
    "resized": [],
    "unseen": ["--resize_mode", "no", "--disable_all_reencoding", "True"],
}


def ours(listed: Path, home: Path, address: str) -> None:
    """Crawl a list; prints how many pictures were stored, and what came of the others."""
    from selfai_pipeline.sources.crawl import crawl_day
    from selfai_pipeline.sources.settings import CrawlSettings, UrlListSource
    from selfai_pipeline.sources.source_kinds import today
    from selfai_pipeline.store import Store

    store = Store.open(str(home))
    source = UrlListSource(name="benchmark", kind="url_list", path=str(listed), allowed_addresses=[address])
    settings = CrawlSettings(
        requests_per_second=10_000,
        concurrency=UNDER_WAY,
        concurrency_per_host=UNDER_WAY,
        throttle_concurrency=2 * UNDER_WAY,
    )
    ref = crawl_day(today(), sources=[source], store=store, settings=settings)
    print(json.dumps(store.tables.facts(ref)["counts"]))


@contextlib.contextmanager
def site(pictures: int) -> Iterator[dict[str, Any]]:
    script = Path(__file__).with_name("picture_site.py")
    command = [sys.executable, str(script), str(pictures), str(SIDE), str(SEED)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        yield json.loads(server.stdout.readline())
        server.stdin.close()


def counts_of(address: str) -> dict[str, int]:
    with urllib.request.urlopen(f"http://{address}/counts") as answer:
        counts: dict[str, int] = json.load(answer)
    return counts


def measured(command: list[str], **environment: str) -> dict[str, Any]:
    """Seconds, peak resident memory in bytes of all processes together, and what a command printed."""
    started = time.perf_counter()
    peak = 0
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **environment}
        )
        while process.poll() is None:
            peak = max(peak, memory_of(process.pid))
            time.sleep(0.05)
        seconds = time.perf_counter() - started
        output.seek(0)
        printed = output.read()
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{printed[-2000:]}")
    return {"seconds": seconds, "peak": peak, "printed": printed}


def memory_of(pid: int) -> int:
    """Resident bytes of a process and of those that it started."""
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        for one in (process := psutil.Process(pid), *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += one.memory_info().rss
    return total


def crawled(urls: list[str], address: str, folder: Path) -> dict[str, Any]:
    folder.mkdir()
    (folder / "home").mkdir()
    listed = folder / "list.csv"
    listed.write_text("\n".join(["url", *urls]) + "\n")
    command = [sys.executable, __file__, "--ours", str(listed), str(folder / "home"), address]
    result = measured(command, OMP_NUM_THREADS="1")
    return {**result, "counts": json.loads(result["printed"].splitlines()[-1])}


def theirs(way: str, urls: list[str], folder: Path, rival: str) -> dict[str, Any]:
    folder.mkdir()
    listed = folder / "list.txt"
    listed.write_text("\n".join(urls) + "\n")
    cores = usable_cores()
    command = [
        *(rival, "--url_list", str(listed), "--output_folder", str(folder / "shards")),
        *("--processes_count", str(cores), "--thread_count", str(UNDER_WAY)),
        *("--number_sample_per_shard", str(max(1, len(urls) // (2 * cores)))),
        *("--output_format", "webdataset", "--compute_hash", "sha256", "--enable_wandb", "False"),
        *WAYS[way],
    ]
    result = measured(command)
    failed = "failed to download: 0.000" not in result["printed"]
    if failed:
        sys.exit(f"img2dataset did not get every picture:\n{result['printed'][-2000:]}")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="2,000 pictures and one round in place of 20,000 and three"
    )
    parser.add_argument("--rivals", default=str(RIVALS), help="the img2dataset that `make rivals` made")
    parser.add_argument("--ours", nargs=3, metavar=("LIST", "HOME", "ADDRESS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ours:
        listed, home, address = options.ours
        ours(Path(listed), Path(home), address)
        return
    if not Path(options.rivals).exists():
        sys.exit(f"{options.rivals}: there is no such program. Run `make rivals`, or name it with --rivals.")
    n = 2_000 if options.quick else 20_000
    with tempfile.TemporaryDirectory() as temporary, site(n) as where:
        compare(n, where, options, folder=Path(temporary))


def compare(n: int, where: dict[str, Any], options: argparse.Namespace, *, folder: Path) -> None:
    address = where["address"]
    urls = [f"http://{address}/pictures/{number}.jpg" for number in range(n)]
    timed = urls[: min(n, 8_000)]
    rounds = 1 if options.quick else 3
    seconds: dict[str, list[float]] = {}
    # Nothing is deleted before the end: this file system makes files slowly for minutes after that.
    for number in range(rounds):
        own = crawled(timed, address, folder / f"ours-{number}")
        if own["counts"] != {"stored": len(timed)}:
            sys.exit(f"Selfai did not get every picture: {own['counts']}")
        seconds.setdefault("Selfai", []).append(own["seconds"])
        for way in WAYS:
            rival = theirs(way, timed, folder / f"{way}-{number}", options.rivals)
            seconds.setdefault(f"img2dataset, {way}", []).append(rival["seconds"])
    median = {name: statistics.median(taken) for name, taken in seconds.items()}
    print(f"{len(timed)} pictures of {where['mean_bytes'] / 1000:.0f} kB, {rounds} rounds")
    print(f"{'':24}{'seconds':>9}{'a second':>10}{'to ours':>9}")
    for name, taken in median.items():
        print(f"{name:24}{taken:9.2f}{len(timed) / taken:10.0f}{taken / median['Selfai']:9.2f}")

    few, many = (crawled(urls[:size], address, folder / f"memory-{size}") for size in (n // 10, n))
    growth = many["peak"] / few["peak"] - 1
    print(
        f"\npeak memory of all processes: {few['peak'] / 1e6:.0f} MB at {n // 10} pictures, "
        f"{many['peak'] / 1e6:.0f} MB at {n} ({growth:+.1%})"
    )
    fetched = forbidden(urls[: n // 10], address, folder / "forbidden")
    print(f"forbidden fetches: {fetched}")
    print(
        json.dumps(
            {
                "vs_img2dataset": round(median["img2dataset, checked"] / median["Selfai"], 2),
                "vs_img2dataset_resized": round(median["img2dataset, resized"] / median["Selfai"], 2),
                "vs_img2dataset_unseen": round(median["img2dataset, unseen"] / median["Selfai"], 2),
                "pictures_per_s": round(len(timed) / median["Selfai"]),
                "rss_growth": round(growth, 3),
                "forbidden_fetched": fetched,
                "peak_megabytes": {str(n // 10): round(few["peak"] / 1e6), str(n): round(many["peak"] / 1e6)},
                "n": {"timed": len(timed), "rounds": rounds, "memory": [n // 10, n]},
                "kilobytes": round(where["mean_bytes"] / 1000),
                "seeds": [SEED],
                "hardware": f"{platform.machine()}, {usable_cores()} cores",
                "versions": versions(options.rivals),
            }
        )
    )


def forbidden(urls: list[str], address: str, folder: Path) -> int:
    """How many forbidden fetches a crawl made of a list with forbidden addresses of three kinds."""
    kinds = ("private", "inside", "reserved")
    mixed, bad = [], 0
    for number, url in enumerate(urls):
        mixed.append(url)
        if number % FORBIDDEN_EVERY == 0:
            mixed += [f"http://{address}/{kind}/{number}.jpg" for kind in kinds]
            bad += 1
    before = counts_of(address)
    counts = crawled(mixed, address, folder)["counts"]
    after = counts_of(address)
    refused = {"robots": bad, "private_address": bad, "noai": bad}
    if {reason: counts.get(reason, 0) for reason in refused} != refused:
        print(f"not refused as they should be: {counts}")
    asked = sum(after.get(kind, 0) - before.get(kind, 0) for kind in ("private", "second server"))
    return asked + max(0, counts["stored"] - len(urls))


def versions(rival: str) -> dict[str, str]:
    script = "import importlib.metadata as m; print(m.version('img2dataset'))"
    theirs = subprocess.run(
        [str(Path(rival).with_name("python")), "-c", script], capture_output=True, text=True, check=True
    )
    own = {name: importlib.metadata.version(name) for name in ("Scrapy", "aiohttp", "uvloop", "SQLAlchemy")}
    return {**own, "img2dataset": theirs.stdout.strip(), "python": platform.python_version()}


if __name__ == "__main__":
    main()
