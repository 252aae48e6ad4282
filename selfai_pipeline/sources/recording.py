"""The way from a crawl that goes on to its recorder: what waits is bounded, and is written many at a time."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor

from selfai_pipeline.sources.recorder import Came, Fetched, Recorded

MOST_AT_ONCE = 128
MOST_WAITING = 512
MOST_BYTES = 32_000_000
"""Of all that waits, give or take one picture or page."""

ADDRESS_BYTES = 200
"""What an address takes beside its letters."""

Write = Callable[[list[Came | Fetched]], list[Recorded]]


class Recording:
    """Takes items, and lets them be written by a thread or process of their own.

    Args:
        executor: where `write` is called, one call at a time.
        write: as `Recorder.write`.
        written: called for each item once it is written.
    """

    def __init__(self, executor: Executor, write: Write, *, written: Callable[[Recorded], None]) -> None:
        self.executor, self.write, self.written = executor, write, written
        self.waiting: deque[Came | Fetched] = deque()
        self.bytes_waiting = 0
        self.changed = asyncio.Event()

    async def add(self, item: Came | Fetched) -> None:
        """Take an item; waits while too much waits already."""
        while len(self.waiting) >= MOST_WAITING or self.bytes_waiting >= MOST_BYTES:
            self.changed.clear()
            await self.changed.wait()
        self.waiting.append(item)
        self.bytes_waiting += _size(item)
        self.changed.set()

    async def run(self) -> None:
        """Write what comes, until it is cancelled.

        Raises:
            StorageError: as `write`.
        """
        loop = asyncio.get_running_loop()
        while True:
            while not self.waiting:
                self.changed.clear()
                await self.changed.wait()
            items = [self.waiting.popleft() for _ in range(min(MOST_AT_ONCE, len(self.waiting)))]
            self.bytes_waiting -= sum(map(_size, items))
            self.changed.set()
            for recorded in await loop.run_in_executor(self.executor, self.write, items):
                self.written(recorded)


def _size(item: Came | Fetched) -> int:
    """Bytes, roughly, that an item takes while it waits."""
    if isinstance(item, Fetched):
        return len(item.content)
    return len(item.outcome.links or "") + sum(ADDRESS_BYTES + len(found.url) for found in item.led_to)
