"""Waiting for what has no event of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


def until(
    condition: Callable[[], object],
    patience: float = 10.0,
    *,
    pause: float = 0.005,
    what: Callable[[], str] = lambda: "",
) -> None:
    """Return once `condition` holds. Raises AssertionError, which says `what`, when patience runs out."""
    deadline = time.monotonic() + patience
    tick = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what()}"
        tick.wait(pause)
