"""Limits how many functions one client may occupy at a time with work that takes long.

Most requests take well under a second. One may take `QUICK_S`, whatever it waits for: another server, a web
site, another request's work, a long search. To continue after that it takes from a bucket of its owner: the
user, the other server, or the network address if neither is authenticated. So a client that makes this server
ask its own slow server again and again occupies only a few functions, and its further requests end with
LimitExceeded.

Requests that wait for updates have slots instead (`storage.live.listeners`). Workers are limited by their
concurrency. Workers that process other servers' events take from a smaller bucket of the server that sent
them, so that one server doesn't occupy them all. If it is empty, what the worker waits for ends with
TimedOut, and is tried again later.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from murmuration.identity import rate_limits
from murmuration.protocol.errors import LimitExceeded
from murmuration.transport.errors import TimedOut

QUICK_S = 4.0
"""How long any request may take without taking from the bucket."""
LONGEST_S = 22.0
"""How long a request may wait for others in total: API Gateway gives up after 29 s."""


class _Work:
    """One request's work, in all of its threads."""

    def __init__(self, find_owner: Callable[[], str], *, for_server: bool) -> None:
        self._find_owner = find_owner
        self._for_server = for_server
        self._began_s = time.monotonic()
        self._lock = threading.Lock()
        self._refusal: Exception | None = None
        self._may_be_long = False

    def wait_on(self) -> None:
        """Raise what the function `wait_on` raises."""
        if not self._for_server and time.monotonic() - self._began_s > LONGEST_S:
            raise TimedOut("the time for the whole request is over")
        self.go_on()

    def go_on(self) -> None:
        """Take from the owner's bucket once the work takes longer than `QUICK_S`. Raises what the function
        `go_on` raises.
        """
        if self._may_be_long or time.monotonic() - self._began_s < QUICK_S:
            return
        with self._lock:
            if self._refusal is not None:
                raise self._refusal
            if self._may_be_long:
                return
            try:
                rate_limits.check("federation_work" if self._for_server else "long_work", self._find_owner())
            except LimitExceeded as error:
                self._refusal = error
                if self._for_server:
                    self._refusal = TimedOut("the server that sent the events has been waited for enough")
                raise self._refusal from None
            self._may_be_long = True


_work: ContextVar[_Work | None] = ContextVar("work", default=None)


@contextmanager
def working(find_owner: Callable[[], str], *, for_server: bool = False) -> Iterator[None]:
    """Limit this context's work. `find_owner` names the owner who pays once the work takes long.

    `for_server` says that a worker works on events of the owner, another server.
    """
    token = _work.set(_Work(find_owner, for_server=for_server))
    try:
        yield
    finally:
        _work.reset(token)


def go_on() -> None:
    """Check, in the middle of work that may take long, whether to continue.

    Raises LimitExceeded for requests, TimedOut for workers.
    """
    work = _work.get()
    if work is not None:
        work.go_on()


def wait_on() -> None:
    """Check, while waiting for another server, whether to continue waiting.

    There is time for each server alone, but not for many servers, one after the other. Raises LimitExceeded
    for requests, TimedOut for workers and for requests that have waited too long.
    """
    work = _work.get()
    if work is not None:
        work.wait_on()
