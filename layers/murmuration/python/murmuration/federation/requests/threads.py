"""Calls for several servers at the same time, each in a thread, so that one that hangs doesn't delay the
others.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

MOST_THREADS = 32


def side_by_side(call: Callable[[T], R], items: Iterable[T], *, most: int = MOST_THREADS) -> list[R]:
    """Return the result of `call` for each item, in order, with at most `most` calls at the same time.

    Raises what a call raises.
    """
    listed = list(items)
    if len(listed) <= 1:
        return [call(item) for item in listed]
    with ThreadPoolExecutor(min(len(listed), most), thread_name_prefix="federation") as threads:
        futures = [threads.submit(contextvars.copy_context().run, call, item) for item in listed]
        return [future.result() for future in futures]
