"""How many requests that take long one client may make."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from murmuration import clock
from murmuration.identity import patience, rate_limits
from murmuration.identity.rate_limits import LIMITS
from murmuration.protocol.errors import LimitExceeded
from murmuration.settings import settings
from murmuration.storage.live.positions import Positions
from murmuration.sync.answer import Answer
from murmuration.transport.errors import TimedOut

pytestmark = pytest.mark.usefixtures("deployment")


NAMES = (f"somebody {number}" for number in itertools.count(1))


@pytest.fixture
def owner(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """Return a user with a full bucket. The clock stands still, and no request counts as quick."""
    name, now = next(NAMES), clock.now_ms()
    monkeypatch.setenv("MURMURATION_RATE_LIMITS", "on")
    settings.cache_clear()
    monkeypatch.setattr(rate_limits, "now_ms", lambda: now)
    monkeypatch.setattr(patience.Work, "quick_s", -1)
    yield lambda: name
    monkeypatch.undo()
    settings.cache_clear()


def test_long_work_takes_from_the_bucket_once_a_request(owner: Callable[[], str]) -> None:
    for _ in range(LIMITS["long_work"].burst):
        with patience.working(owner):
            for _ in range(3):
                patience.go_on()
    with patience.working(owner):
        for _ in range(2):
            with pytest.raises(LimitExceeded):
                patience.go_on()
    with patience.working(lambda: f"another than {owner()}"):
        patience.go_on()


def test_quick_work_takes_nothing(owner: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience.Work, "quick_s", 60)
    monkeypatch.setattr(rate_limits, "check", lambda *_: pytest.fail("it takes from a bucket"))
    with patience.working(owner):
        patience.go_on()


def test_workers_are_not_bounded(owner: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "check", lambda *_: pytest.fail("it takes from a bucket"))
    patience.go_on()


def test_a_request_waits_for_others_no_longer_than_the_gateway_waits_for_it(
    owner: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of many servers has enough time, but all together have no more than one server."""
    with patience.working(owner):
        patience.wait_on()
    monkeypatch.setattr(patience, "LONGEST_S", -1)
    with patience.working(owner):
        with pytest.raises(TimedOut):
            patience.wait_on()
        patience.go_on()  # other work has bounds of its own
    with patience.working(owner, for_server=True):
        patience.wait_on()


def test_waiting_for_news_is_no_long_work(owner: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Making the answer takes no time, however long its request had waited before."""
    monkeypatch.setattr(rate_limits, "check", lambda *_: pytest.fail("it takes from a bucket"))
    monkeypatch.setattr(patience.Work, "quick_s", 4)
    with patience.working(owner):
        work = patience._work.get()
        assert work is not None
        work._began_s -= 20
        Answer(Positions()).go_on()


def test_an_answer_that_takes_long_to_be_made(owner: Callable[[], str]) -> None:
    for _ in range(LIMITS["long_work"].burst):
        with patience.working(owner):
            Answer(Positions()).go_on()
    with patience.working(owner), pytest.raises(LimitExceeded):
        Answer(Positions()).go_on()
