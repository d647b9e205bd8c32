"""The time by which a whole request must be over."""

from __future__ import annotations

import time

from murmuration.transport.errors import TimedOut


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
        return left if most is None else min(left, most)
