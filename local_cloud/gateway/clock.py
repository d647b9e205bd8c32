"""The gateway's clock: the time at which each request arrived."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

MOST_AHEAD_MS = 50
"""How far the clock may run ahead where more than one request comes in each millisecond."""


class Clock:
    """Returns milliseconds since the epoch, and no millisecond twice.

    The gateway takes requests one after another. Running functions may hold it up, so that it takes several
    in one millisecond. Their times are still different, so that they show the order in which the requests
    came.
    """

    def __init__(self, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._now_ns = now_ns
        self._lock = threading.Lock()
        self._last_ms = 0

    def tell(self) -> int:
        """Return the time now, or if the last result isn't earlier, a millisecond after that.

        It is never more than `MOST_AHEAD_MS` ahead of the real time.
        """
        now_ms = self._now_ns() // 1_000_000
        with self._lock:
            if now_ms <= self._last_ms <= now_ms + MOST_AHEAD_MS:
                now_ms = min(self._last_ms + 1, now_ms + MOST_AHEAD_MS)
            self._last_ms = now_ms
        return now_ms
