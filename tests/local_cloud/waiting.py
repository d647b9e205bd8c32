"""Waits in tests: each one ends when a condition holds, and fails only after a time that is far too long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

PATIENCE_S = 60.0
"""How long tests wait for what another thread or process does. A busy machine needs much less."""


def until(
    condition: Callable[[], object],
    patience: float = PATIENCE_S,
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
