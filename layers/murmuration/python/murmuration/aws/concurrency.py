"""Runs several AWS calls at the same time, so that together they take the time of one round trip."""

from __future__ import annotations

import contextvars
import functools
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, TypeVar, cast, overload

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
THREADS = 16
"""How many calls one process makes at once."""


class _Job(Generic[T]):
    """A call that any thread may make: whichever claims it first."""

    __slots__ = ("_call", "_claimed", "_context", "_error", "_result", "_running")

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._context = contextvars.copy_context()
        self._claimed, self._running = threading.Lock(), threading.Lock()
        self._running.acquire()
        self._error: BaseException | None = None
        self._result: T | None = None

    def claim(self) -> bool:
        """Return whether this is the first claim of the call. The first claimer runs the call, or
        drops it.
        """
        return self._claimed.acquire(blocking=False)

    def run(self) -> None:
        """Make the call, once it is claimed."""
        try:
            self._result = self._context.run(self._call)
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is wanted
            self._error = error
        finally:
            self._running.release()

    def wait(self) -> None:
        """Wait until the call is over."""
        with self._running:
            pass

    def result(self) -> T:
        """Return what the call returned, or raise what it raised, once it is over."""
        self.wait()
        error, self._error = self._error, None
        if error is None:
            return cast("T", self._result)
        try:
            raise error
        finally:
            del error  # it refers to this frame


class _Threads:
    """Threads for calls: as many as are needed at once, up to THREADS.

    `concurrent.futures` does the same. It imports `logging`, which takes a twentieth of a cold start, and
    takes twice the CPU for a call.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job[Any]] = SimpleQueue()
        self._lock = threading.Lock()
        self._started = 0
        self._idle = 0
        self._backlog = 0

    def submit(self, call: Callable[[], T]) -> _Job[T]:
        job = _Job(call)
        with self._lock:
            if self._idle:
                self._idle -= 1
            elif self._started < THREADS:
                self._started += 1
                threading.Thread(target=self._work, name="murmuration-aws", daemon=True).start()
            else:
                self._backlog += 1
        self._jobs.put(job)
        return job

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if job.claim():
                job.run()
            del job  # what it has returned isn't kept until the next one comes
            with self._lock:
                if self._backlog:
                    self._backlog -= 1
                else:
                    self._idle += 1


@functools.cache
def _threads() -> _Threads:
    return _Threads()


def parallel(*calls: Callable[[], T]) -> list[T]:
    """Run `calls` at the same time, and return their results in order.

    If a call fails, its error is raised after those that have begun are finished; the others aren't begun. A
    write left running might be carried out much later, because a function stands still between requests.

    A call may itself use `parallel`. That can't deadlock when all threads are busy: a caller runs the calls
    that no thread has begun, so it waits only for running ones.
    """
    if len(calls) <= 1:
        return [call() for call in calls]
    jobs = [_threads().submit(call) for call in calls[1:]]
    try:
        results = [calls[0]()]
        for job in jobs:
            if job.claim():
                job.run()
            results.append(job.result())
        return results
    finally:
        for job in jobs:
            if not job.claim():
                job.wait()


@overload
def gather(first: Callable[[], A], second: Callable[[], B], /, *, at_once: bool = True) -> tuple[A, B]: ...


@overload
def gather(
    first: Callable[[], A], second: Callable[[], B], third: Callable[[], C], /, *, at_once: bool = True
) -> tuple[A, B, C]: ...


def gather(*calls: Callable[[], Any], at_once: bool = True) -> tuple[Any, ...]:
    """Do the same as `parallel`, for calls whose results differ in type.

    Pass `at_once=False` if at most one of the calls waits for the network: another thread would cost more
    than it saves. The calls then run one after another.
    """
    return tuple(parallel(*calls) if at_once else [call() for call in calls])
