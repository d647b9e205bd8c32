"""Timing of a piece of work, the same on both sides."""

from __future__ import annotations

import gc
from collections.abc import Callable
from time import perf_counter

Work = Callable[[], object]


def seconds(work: Work, times: int) -> float:
    """Seconds that `times` runs of the work take together, without garbage collection."""
    gc.collect()
    gc.disable()
    try:
        start = perf_counter()
        for _ in range(times):
            work()
        return perf_counter() - start
    finally:
        gc.enable()
