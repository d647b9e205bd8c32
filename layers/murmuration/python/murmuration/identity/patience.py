"""Limits how many functions one client may occupy at a time with work that takes long.

Most requests take well under a second. One may take `QUICK_S`, whatever it waits for: another server, a web
site, another request's work, a long search. To continue after that it takes from a bucket of its owner: the
user, the other server, or the network address if neither is authenticated. So a client that makes this server
ask its own slow server again and again occupies only a few functions, and its further requests end with
LimitExceeded.

Requests that wait for updates have slots instead (`storage.live.listeners`). Workers are limited by their
concurrency. Workers that process other servers' events take from a smaller bucket of the server that sent
them, so that one server doesn't occupy them all. If it is empty, the worker's wait ends with TimedOut, and
the work is tried again later. Joins need turns (`identity.turns`).
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


class Work:
    """One request's or worker's work, in all of its threads. A subclass says what `take_more` takes from."""

    quick_s: float = QUICK_S
    """How many seconds it may take before it takes from the bucket."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._lock = threading.Lock()
        self._refusal: Exception | None = None
        self._may_be_long = False

    @property
    def passed_s(self) -> float:
        """The seconds since the work began."""
        return time.monotonic() - self._began_s

    @property
    def is_long(self) -> bool:
        """Whether it has taken from the bucket, which allows it to take long."""
        return self._may_be_long

    def take_more(self) -> None:
        """Take from the owner's bucket. Raises LimitExceeded or TimedOut."""
        raise NotImplementedError

    def wait_on(self) -> None:
        """Raise what the function `wait_on` raises."""
        self.go_on()

    def go_on(self) -> None:
        """Take from the owner's bucket once the work takes long. Raises what `take_more` raises."""
        if self._may_be_long or self.passed_s < self.quick_s:
            return
        with self._lock:
            if self._refusal is not None:
                raise self._refusal
            if self._may_be_long:
                return
            try:
                self.take_more()
            except (LimitExceeded, TimedOut) as error:
                self._refusal = error
                raise
            self._may_be_long = True


class _Request(Work):
    """A request, whose owner `find_owner` names."""

    def __init__(self, find_owner: Callable[[], str]) -> None:
        super().__init__()
        self._find_owner = find_owner

    def wait_on(self) -> None:
        if self.passed_s > LONGEST_S:
            raise TimedOut("the time for the whole request is over")
        self.go_on()

    def take_more(self) -> None:
        rate_limits.check("long_work", self._find_owner())


class _OnEvents(Work):
    """A worker's work on the events of a server."""

    def __init__(self, find_owner: Callable[[], str]) -> None:
        super().__init__()
        self._find_owner = find_owner

    def take_more(self) -> None:
        try:
            rate_limits.check("federation_work", self._find_owner())
        except LimitExceeded:
            raise TimedOut("the server that sent the events has been waited for enough") from None


_work: ContextVar[Work | None] = ContextVar("work", default=None)


@contextmanager
def working(find_owner: Callable[[], str], *, for_server: bool = False) -> Iterator[None]:
    """Limit this context's work. `find_owner` names the owner who pays once the work takes long.

    `for_server` says that a worker works on events of the owner, another server.
    """
    with bounded(_OnEvents(find_owner) if for_server else _Request(find_owner)):
        yield


@contextmanager
def bounded(work: Work) -> Iterator[None]:
    """Limit the time of everything that runs in this context, by the rules of `work`."""
    token = _work.set(work)
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
