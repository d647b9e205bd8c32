"""Several calls at once: none is left running when one fails."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from murmuration.aws import dynamodb


@pytest.mark.parametrize("place", [0, 1, 2])
def test_when_one_fails_the_others_are_over_too(place: int) -> None:
    begun, answered = threading.Event(), threading.Event()
    outlived: list[bool] = []

    def fail() -> None:
        assert begun.wait(10)
        raise ZeroDivisionError

    def go_on() -> None:
        begun.set()
        outlived.append(answered.wait(0.05))

    calls: list[Callable[[], None]] = [go_on, go_on]
    calls.insert(place, fail)
    with pytest.raises(ZeroDivisionError):
        dynamodb.parallel(*calls)
    answered.set()
    assert outlived == [False, False]
