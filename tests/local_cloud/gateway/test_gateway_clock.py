"""The gateway's clock orders concurrent requests."""

from __future__ import annotations

from local_cloud.gateway.clock import MOST_AHEAD_MS, Clock


def test_no_millisecond_is_told_twice() -> None:
    nanoseconds = iter((5_000_000, 5_400_000, 5_900_000, 6_100_000, 20_000_000))
    clock = Clock(lambda: next(nanoseconds))
    assert [clock.tell() for _ in range(5)] == [5, 6, 7, 8, 20]


def test_the_clock_does_not_run_far_ahead() -> None:
    clock = Clock(lambda: 5_000_000)
    told = [clock.tell() for _ in range(2 * MOST_AHEAD_MS)]
    assert max(told) == 5 + MOST_AHEAD_MS
    assert told == sorted(told)


def test_the_clock_follows_a_system_clock_that_is_set_back() -> None:
    nanoseconds = iter((9_000_000_000, 5_000_000))
    clock = Clock(lambda: next(nanoseconds))
    assert [clock.tell() for _ in range(2)] == [9_000, 5]
