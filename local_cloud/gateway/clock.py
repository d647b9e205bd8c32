"""The gateway's clock: the time at which each request arrived."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

MOST_AHEAD_MS = 50
"""How far the clock may run ahead if more than one request comes in each millisecond."""


class Clock:
    """Returns milliseconds since the epoch, and no millisecond twice.

    The gateway accepts requests one after another. Running functions may delay it, so that it accepts several
    in one millisecond. Their times still differ, so that they show the order in which the requests came.
    """

    def __init__(self, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._now_ns = now_ns
        self._lock = threading.Lock()
        self._last_ms = 0

    def tell(self) -> int:
        """Return the current time; if the last result isn't earlier, one millisecond after that.

        It is at most `MOST_AHEAD_MS` ahead of the real time.
        """
        now_ms = self._now_ns() // 1_000_000
        with self._lock:
            if now_ms <= self._last_ms <= now_ms + MOST_AHEAD_MS:
                now_ms = min(self._last_ms + 1, now_ms + MOST_AHEAD_MS)
            self._last_ms = now_ms
        return now_ms
