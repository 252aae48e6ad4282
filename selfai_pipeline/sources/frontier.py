"""Which address is asked next: hosts take turns, so that none of them holds up the others."""

import heapq
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

READ_AHEAD = 5000
"""Addresses held in memory at most, give or take one page of the list behind it."""

Item = TypeVar("Item")


class Frontier(Generic[Item]):
    """Reads a list of addresses ahead, and hands them out host by host in the order of the list.

    Args:
        read: the next part of the list; empty where there is nothing more for now.
        host_of: the host that an item is asked from.
        most: how many of one host may be out at once.
        rest_of: seconds until a host wants to be asked again.
    """

    def __init__(
        self,
        read: Callable[[], list[Item]],
        *,
        host_of: Callable[[Item], str],
        most: int,
        rest_of: Callable[[str], float] = lambda _: 0.0,
    ) -> None:
        self.read, self.host_of, self.most, self.rest_of = read, host_of, most, rest_of
        self.may_have_more = True
        """Whether the list is worth another look; whoever adds to it says so here."""
        self.waiting: dict[str, deque[Item]] = {}
        self.out: dict[str, int] = {}
        self.turns: dict[str, None] = {}
        """Hosts with something waiting and room for it, in the order of their turns."""
        self.resting: set[str] = set()
        """Hosts with something waiting that want to be left alone."""
        self.alarms: list[tuple[float, str]] = []
        """When each of these may be asked, the earliest first."""
        self.met: set[str] = set()
        self.held = 0

    def next(self) -> Item | None:
        """The next item; None where nothing waits, or every host that has something rests or is at its limit.

        A host that was never asked gets one item, until that is done: only then is it known how it wants to
        be asked.
        """
        while self.may_have_more and self.held < READ_AHEAD:
            self._read_on()
        self._wake()
        while self.turns:
            host = next(iter(self.turns))
            del self.turns[host]
            rest = self.rest_of(host)
            if rest > 0:
                self.resting.add(host)
                heapq.heappush(self.alarms, (time.monotonic() + rest, host))
                continue
            item = self.waiting[host].popleft()
            self.held -= 1
            self.out[host] = self.out.get(host, 0) + 1
            self._line_up(host)
            return item
        return None

    @property
    def rest(self) -> float | None:
        """Seconds until the first of the hosts that rest may be asked; None where none rests."""
        return max(0.0, self.alarms[0][0] - time.monotonic()) if self.alarms else None

    def ended(self, item: Item) -> None:
        """Say that an item that was handed out is done."""
        host = self.host_of(item)
        self.met.add(host)
        self.out[host] -= 1
        if not self.out[host]:
            del self.out[host]
        self._line_up(host)

    @property
    def is_done(self) -> bool:
        """Whether nothing is out or waits, and the list has no more."""
        return not self.out and not self.held and not self.may_have_more

    def _read_on(self) -> None:
        items = self.read()
        self.may_have_more = bool(items)
        for item in items:
            host = self.host_of(item)
            self.waiting.setdefault(host, deque()).append(item)
            self.held += 1
            self._line_up(host)

    def _wake(self) -> None:
        while self.alarms and self.alarms[0][0] <= time.monotonic():
            _, host = heapq.heappop(self.alarms)
            self.resting.remove(host)
            self._line_up(host)

    def _line_up(self, host: str) -> None:
        if not self.waiting.get(host):
            self.waiting.pop(host, None)
        elif host not in self.resting and self.out.get(host, 0) < (self.most if host in self.met else 1):
            self.turns.setdefault(host)
