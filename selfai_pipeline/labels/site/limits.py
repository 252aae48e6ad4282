"""How many requests somebody may make a minute."""

import threading
import time
from collections.abc import Callable, Hashable

MOST_REMEMBERED = 10_000


class RateLimit:
    """Admits `per_minute` requests a minute of each key, and as many at once after a quiet minute.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute = per_minute
        self._clock = clock
        self._left: dict[Hashable, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def admits(self, key: Hashable) -> bool:
        """Whether one more request of `key` may be answered now; it is counted."""
        moment = self._clock()
        with self._lock:
            if key not in self._left and len(self._left) >= MOST_REMEMBERED:
                self._forget_rested(moment)
            left = self._now(key, moment)
            self._left[key] = (left - 1 if left >= 1 else left, moment)
            return left >= 1

    def _now(self, key: Hashable, moment: float) -> float:
        left, since = self._left.get(key, (float(self.per_minute), moment))
        return min(float(self.per_minute), left + (moment - since) * self.per_minute / 60)

    def _forget_rested(self, moment: float) -> None:
        """Forget who could make all of their requests again; where nobody could, everybody."""
        tired = {key: self._left[key] for key in self._left if self._now(key, moment) < self.per_minute}
        self._left = tired if len(tired) < MOST_REMEMBERED else {}
