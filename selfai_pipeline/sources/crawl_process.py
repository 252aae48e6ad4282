"""The process that crawls one source: `python -m selfai_pipeline.sources.crawl_process`.

It reads a `CrawlJob` as one line of JSON from its standard input and ends when that input is closed, so that
it does not outlive the run that started it. To its standard output it writes one JSON object a line:
{"counts": ...} as it goes on, and {"error": kind, "message": ...} where it cannot.
"""

import json
import os
import signal
import sys
import threading
from typing import Any, NoReturn

from selfai_pipeline.sources.crawl_job import CrawlJob
from selfai_pipeline.sources.journal import Journal
from selfai_pipeline.sources.recorder import start_recorder, write_items

STANDARD_INPUT = 0


def report(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def end_with_the_parent() -> None:
    """Wait for the end of the standard input; to be killed at any moment loses nothing that was stored."""
    while os.read(STANDARD_INPUT, 4096):
        pass
    os._exit(1)


def give_up(error: Exception) -> NoReturn:
    """End at once, with the reason: neither a silent host nor the recorder is waited for."""
    report(error=type(error).__name__, message=str(error))
    os._exit(1)


def main() -> int:
    """Crawl what the job on the standard input says; returns the exit status."""
    # To be killed by it loses nothing, and says that the crawl is not done.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Unbuffered: a thread that waits in Python's own reader would crash the interpreter at its end.
    with os.fdopen(os.dup(STANDARD_INPUT), "rb", buffering=0) as lines:
        job = CrawlJob.from_json(lines.readline().decode())
    try:
        with start_recorder(job) as executor:
            threading.Thread(target=end_with_the_parent, daemon=True).start()
            # The recorder has no use for Scrapy, and need not hold it in memory.
            from selfai_pipeline.sources.journal_spider import crawl

            with Journal(job.store.home.journal_url) as journal:
                crawl(
                    job,
                    journal,
                    executor=executor,
                    write=write_items,
                    report=lambda counts: report(counts=counts),
                    give_up=give_up,
                )
    except Exception as error:
        give_up(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
