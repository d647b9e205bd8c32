"""The signals that end a server: the first asks it to end, a second changes nothing, the third ends it at
once.
"""

from __future__ import annotations

import itertools
import os
import signal
from types import FrameType
from typing import Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
PATIENCE: Final = 3
"""The number of the signal that ends the process at once. Two may have one cause: a terminal sends one, and
`make` passes it on."""


class StopSignals:
    """Waits for SIGINT or SIGTERM.

    A handler may interrupt another one, or itself, at any point. So it takes no lock, as an Event would: it
    only counts. The waiting ends by a byte in a pipe, which the interpreter writes as soon as a signal comes
    to any thread. The handler itself could not write it: it runs in the main thread, which may be about to
    wait.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        self.came = False
        """Whether a signal has come."""

    def install(self) -> None:
        """Handle the signals from now on. Only a process's main thread can do that."""
        signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, self._take)

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if next(self._numbers) >= PATIENCE:
            os._exit(128 + number)
        self.came = True

    def wait(self) -> None:
        """Return as soon as a signal has come."""
        os.read(self._reading, 1)
