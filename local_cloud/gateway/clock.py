"""The gateway's clock: when each request came."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

MOST_AHEAD_MS = 50
"""How far the clock may run ahead where more than one request comes in each millisecond."""


class Clock:
    """Tells the milliseconds since the epoch, and no millisecond twice.

    The gateway takes requests one after another, but functions that are at work hold it up, so it may take
    several in one millisecond. Their order is the order in which they came, and the times shall show it.
    """

    def __init__(self, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._now_ns = now_ns
        self._lock = threading.Lock()
        self._last_ms = 0

    def tell(self) -> int:
        """The time now: a millisecond after the one told last, at least, within `MOST_AHEAD_MS`."""
        now_ms = self._now_ns() // 1_000_000
        with self._lock:
            if now_ms <= self._last_ms <= now_ms + MOST_AHEAD_MS:
                now_ms = min(self._last_ms + 1, now_ms + MOST_AHEAD_MS)
            self._last_ms = now_ms
        return now_ms
