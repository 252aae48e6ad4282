"""What waits to be written is bounded, pictures and pages alike."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from selfai_pipeline.errors import StorageError
from selfai_pipeline.sources.outcomes import READ, Found, Links, Outcome
from selfai_pipeline.sources.recorder import Came, Fetched, Recorded
from selfai_pipeline.sources.recording import MOST_AT_ONCE, MOST_BYTES, MOST_WAITING, Recording


def picture(size: int) -> Fetched:
    return Fetched(Found("http://x.org/a.jpg", "picture"), bytes(size), {}, "http://x.org/a.jpg", None)


def page(links: int) -> Came:
    urls = [f"http://x.org/{number:0100}" for number in range(links)]
    outcome = Outcome(Found("http://x.org/", "page"), READ, "", links=Links(urls, []).to_json())
    return Came(outcome, [Found(url, "picture") for url in urls])


@pytest.mark.parametrize(
    ("item", "most"),
    [(picture(1), MOST_WAITING), (picture(MOST_BYTES // 4), 5), (page(20_000), 6)],
)
def test_whoever_brings_more_than_may_wait_has_to_wait(item: Came | Fetched, most: int) -> None:
    gate, written = Event(), []

    def write(items: list[Came | Fetched]) -> list[Recorded]:
        gate.wait()
        return [Recorded("stored", led_on=False) for _ in items]

    async def bring() -> int:
        with ThreadPoolExecutor(1) as executor:
            recording = Recording(executor, write, written=written.append)
            running = asyncio.create_task(recording.run())
            brought = 0
            for _ in range(2 * MOST_WAITING):
                try:
                    await asyncio.wait_for(recording.add(item), 1)
                except TimeoutError:
                    break
                brought += 1
            waiting = len(recording.waiting)
            gate.set()
            while len(written) < brought:
                await asyncio.sleep(0.01)
            running.cancel()
            assert recording.bytes_waiting == 0
            return waiting

    assert asyncio.run(bring()) <= most


def test_items_are_written_in_their_order_many_at_once() -> None:
    batches: list[int] = []

    def write(items: list[Came | Fetched]) -> list[Recorded]:
        batches.append(len(items))
        return [Recorded(str(len(item.content)), led_on=False) for item in items if isinstance(item, Fetched)]

    async def bring() -> list[str]:
        written: list[Recorded] = []
        with ThreadPoolExecutor(1) as executor:
            recording = Recording(executor, write, written=written.append)
            for number in range(300):
                await recording.add(picture(number))
            running = asyncio.create_task(recording.run())
            while len(written) < 300:
                await asyncio.sleep(0.01)
            running.cancel()
        return [one.what for one in written]

    assert asyncio.run(bring()) == [str(number) for number in range(300)]
    assert max(batches) == MOST_AT_ONCE


def test_a_trouble_of_the_recorder_ends_it() -> None:
    def write(items: list[Came | Fetched]) -> list[Recorded]:
        raise StorageError("the disk is full")

    async def bring() -> None:
        with ThreadPoolExecutor(1) as executor:
            recording = Recording(executor, write, written=lambda _: None)
            await recording.add(picture(1))
            await recording.run()

    with pytest.raises(StorageError, match="the disk is full"):
        asyncio.run(bring())
