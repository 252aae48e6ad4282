"""Runs the process that crawls, and waits for its end."""

import contextlib
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from selfai_pipeline.errors import PassingTrouble, SelfaiError, StorageError
from selfai_pipeline.sources.crawl_job import CrawlJob

logger = logging.getLogger("selfai.sources")


class CrawlInterrupted(SelfaiError):
    """The process that crawls ended before its work was done; what it stored is kept."""


class CrawlKilled(CrawlInterrupted, PassingTrouble):
    """A signal ended the process that crawls (the system was out of memory, say)."""


def run_crawl(job: CrawlJob) -> Counter[str]:
    """Crawl in a process of its own, and wait for its end; it is ended with this one.

    Returns:
        What came of how many addresses.

    Raises:
        StorageError: the store or the journal cannot be written.
        CrawlInterrupted: the process ended early; as `CrawlKilled` by a signal.
    """
    package_root = str(Path(__file__).resolve().parents[2])
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package_root, environment.get("PYTHONPATH")]))
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "selfai_pipeline.sources.crawl_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        report: dict[str, Any] = {}
        try:
            process.stdin.write(job.to_json().encode() + b"\n")
            process.stdin.flush()
            for line in process.stdout:
                report = json.loads(line)
                if "counts" in report:
                    words = in_words(Counter(report["counts"]))
                    logger.info("crawling %s for %s: %s", job.source.name, job.day, words)
            status = process.wait()
        except BrokenPipeError:
            status = process.wait()
        finally:
            process.kill()
            process.wait()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.stdout.close()
        errors.seek(0)
        last_words = errors.read()[-2000:].decode(errors="replace").strip().splitlines()[-1:]
        if status == 0:
            if last_words:
                logger.warning("crawling %s for %s: %s", job.source.name, job.day, last_words[0])
            return Counter(report.get("counts", {}))
    if report.get("error") == StorageError.__name__:
        raise StorageError(report["message"])
    cause = f"{report['error']}: {report['message']}" if "error" in report else "".join(last_words)
    # A negative status is a signal; what the process itself reports, or dies of, is a defect, but for the
    # end of its recorder.
    was_killed = status < 0 or report.get("error") == BrokenProcessPool.__name__
    raise (CrawlKilled if was_killed else CrawlInterrupted)(
        f"source {job.source.name}, {job.day}: the crawl ended early ({cause or f'status {status}'}). "
        "What was stored is kept: run again to go on."
    )


def in_words(counts: Counter[str]) -> str:
    """Counts for the log, without names or addresses."""
    return ", ".join(f"{number} {what}" for what, number in sorted(counts.items())) or "nothing"
