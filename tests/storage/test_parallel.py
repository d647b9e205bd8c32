"""Several calls at once: none is left running when one fails."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from murmuration.aws import concurrency
from tests.local_cloud.waiting import PATIENCE_S


@pytest.mark.parametrize("place", [0, 1, 2])
def test_when_one_fails_the_others_are_over_too(place: int) -> None:
    begun, answered = threading.Barrier(3, timeout=PATIENCE_S), threading.Event()
    outlived: list[bool] = []

    def fail() -> None:
        begun.wait()
        raise ZeroDivisionError

    def go_on() -> None:
        begun.wait()
        outlived.append(answered.wait(0.05))

    calls: list[Callable[[], None]] = [go_on, go_on]
    calls.insert(place, fail)
    with pytest.raises(ZeroDivisionError):
        concurrency.parallel(*calls)
    answered.set()
    assert outlived == [False, False]


def test_calls_within_calls_run_at_the_same_time() -> None:
    """Four calls, two within each of two, meet: each waits until all four are running."""
    meeting = threading.Barrier(4, timeout=PATIENCE_S)

    def within() -> list[int]:
        return concurrency.parallel(meeting.wait, meeting.wait)

    arrived = concurrency.parallel(within, within)
    assert sorted(place for places in arrived for place in places) == [0, 1, 2, 3]


def test_calls_within_more_calls_than_there_are_threads_come_to_an_end() -> None:
    def leaf() -> int:
        return 1

    def branch() -> int:
        return sum(concurrency.parallel(*[leaf] * 5))

    def trunk() -> int:
        return sum(concurrency.parallel(*[branch] * 5))

    assert sum(concurrency.parallel(*[trunk] * 40)) == 40 * 5 * 5
