"""Which address is asked next: hosts take turns, so that none of them holds up the others."""

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
    """

    def __init__(self, read: Callable[[], list[Item]], *, host_of: Callable[[Item], str], most: int) -> None:
        self.read, self.host_of, self.most = read, host_of, most
        self.may_have_more = True
        """Whether the list is worth another look; whoever adds to it says so here."""
        self.waiting: dict[str, deque[Item]] = {}
        self.out: dict[str, int] = {}
        self.turns: dict[str, None] = {}
        """Hosts with something waiting and room for it, in the order of their turns."""
        self.held = 0

    def next(self) -> Item | None:
        """The next item; None where nothing waits, or every host that has something is at its limit."""
        while self.may_have_more and self.held < READ_AHEAD:
            self._read_on()
        if not self.turns:
            return None
        host = next(iter(self.turns))
        del self.turns[host]
        item = self.waiting[host].popleft()
        self.held -= 1
        self.out[host] = self.out.get(host, 0) + 1
        self._line_up(host)
        return item

    def ended(self, item: Item) -> None:
        """Say that an item that was handed out is done."""
        host = self.host_of(item)
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

    def _line_up(self, host: str) -> None:
        if not self.waiting.get(host):
            self.waiting.pop(host, None)
        elif self.out.get(host, 0) < self.most:
            self.turns.setdefault(host)
