"""Runs several AWS calls at the same time, so that together they take the time of one round trip."""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from typing import Any, TypeVar, overload

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
THREADS = 16
"""How many calls one process makes at once."""


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="murmuration-aws")


def parallel(*calls: Callable[[], T]) -> list[T]:
    """Run `calls` at the same time, and return their results in order.

    If a call fails, its error is raised after the calls that have begun are finished; the others aren't
    begun. A call that was left running might write much later, because Lambda freezes a function between
    requests.

    A call may itself use `parallel`. That can't deadlock when all threads are busy: the caller itself runs
    the calls that no thread has begun, so it waits only for running ones.
    """
    if len(calls) <= 1:
        return [call() for call in calls]
    futures = [_threads().submit(contextvars.copy_context().run, call) for call in calls[1:]]
    try:
        results = [calls[0]()]
        for call, future in zip(calls[1:], futures, strict=True):
            results.append(call() if future.cancel() else future.result())
        return results
    finally:
        _finish(futures)


def _finish(futures: list[Future[T]]) -> None:
    running = [future for future in futures if not future.done() and not future.cancel()]
    if running:
        wait_for(running)


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
