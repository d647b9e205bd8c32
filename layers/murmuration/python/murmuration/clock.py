"""The time, in one place, so that tests can set it."""

from __future__ import annotations

import time

DAY_MS = 86_400_000


def now_ms() -> int:
    """Return the time in milliseconds since the Unix epoch, as in the specification's timestamps."""
    return time.time_ns() // 1_000_000
