"""The deadline of a whole request, and regular checks whether it may take so long."""

from __future__ import annotations

import time
from collections.abc import Callable

from murmuration.transport.errors import TimedOut

LOOK_S = 1.0
"""How often a request that waits for another server checks whether it may continue."""
_may_wait_on: list[Callable[[], None]] = []


def connect(ask: Callable[[], None]) -> None:
    """Make waiting requests call `ask` regularly. It raises an error to end the waiting."""
    _may_wait_on[:] = [ask]


class Deadline:
    """The point in time `seconds` after the object is made."""

    __slots__ = ("_end",)

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def is_over(self) -> bool:
        """Return whether no time is left."""
        return time.monotonic() >= self._end

    def left(self, most: float | None = None) -> float:
        """Return the seconds left, at most `most`. Raises TimedOut once there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimedOut("the time for the request is over")
        for ask in _may_wait_on:
            ask()
        return left if most is None else min(left, most)
