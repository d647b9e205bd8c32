"""The time, in one place, so that tests can set it."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Milliseconds since the Unix epoch, as the specification's timestamps count them."""
    return time.time_ns() // 1_000_000
