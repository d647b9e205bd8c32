"""Waiting for what has no event of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


def until(condition: Callable[[], object], patience: float = 10.0) -> None:
    """Return once `condition` holds. Raises AssertionError when patience runs out."""
    deadline = time.monotonic() + patience
    tick = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        tick.wait(0.005)
