"""A few accounts with slow servers of their own don't keep others from joining."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from murmuration.clock import now_ms
from murmuration.federation.membership import jobs as work
from murmuration.federation.membership import leaving
from murmuration.federation.membership.jobs import run
from murmuration.identity import patience, rate_limits, turns
from murmuration.protocol.errors import LimitExceeded
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.settings import settings
from murmuration.storage.servers import join_jobs
from murmuration.transport import deadlines
from tests.federation.hosting import Host
from tests.federation.membership.test_joining import join, sync
from tests.in_process import Client
from tests.rooms.people import ok, refused

MakeClient = Callable[..., Client]
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def stopped(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Limits are on, and nothing comes back by itself."""
    monkeypatch.setenv("MURMURATION_RATE_LIMITS", "on")
    settings.cache_clear()
    rate_limits._full.clear()
    now = now_ms()
    monkeypatch.setattr(rate_limits, "now_ms", lambda: now)
    deadlines.connect(patience.wait_on)
    monkeypatch.setattr(turns, "EVERYBODY", f"everybody {next(_numbers)}")
    yield
    rate_limits._full.clear()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that take longer than a join may without a turn."""
    monkeypatch.setattr(turns.Turn, "quick_s", -1)


def taken(kind: str, key: str) -> int:
    """Return how much is missing from a bucket."""
    burst, left = rate_limits.LIMITS[kind].burst, 0
    while left < burst:
        try:
            rate_limits.check(kind, key)
        except LimitExceeded:
            break
        left += 1
    return burst - left


def test_quick_joins_take_no_turns_and_give_their_time_back(
    alice: Client, host: Host, jobs: list[Any]
) -> None:
    for _ in range(2):
        ok(join(alice, host.room("11").room_id, host.remote.name))
    assert taken("long_join", alice.user_id) == taken("long_joins", turns.EVERYBODY) == 0
    assert taken("join_seconds", alice.user_id) < 2 * turns.QUICK_S
    assert taken("remote_join", alice.user_id) == 0


def test_a_user_has_two_slow_joins_and_then_has_to_be_patient(
    alice: Client, host: Host, jobs: list[Any], slow: None
) -> None:
    for _ in range(2):
        ok(join(alice, host.room("11").room_id, host.remote.name))
    refused(join(alice, host.room("11").room_id, host.remote.name), 429, "M_LIMIT_EXCEEDED")
    assert taken("long_joins", turns.EVERYBODY) == 0, "turns for all come back with the end"


def test_a_slow_join_makes_way_while_others_have_all_turns(
    alice: Client, host: Host, jobs: list[Any], slow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from murmuration.federation.membership import joining

    room = host.room("11")
    for _ in range(rate_limits.LIMITS["long_joins"].burst):
        rate_limits.check("long_joins", turns.EVERYBODY)
    monkeypatch.setattr(joining, "WAIT_SECONDS", 0)
    refused(join(alice, room.room_id, host.remote.name), 504, "M_UNKNOWN")
    assert jobs[-1] == {"user_id": alice.user_id, "room_id": room.room_id, "again": 1}
    monkeypatch.setattr(turns, "EVERYBODY", "everybody later")
    run(UserId(alice.user_id), RoomId(room.room_id), 1)
    assert room.room_id in sync(alice)["rooms"]["join"]
    assert taken("long_join", alice.user_id) == 1, "the turn that led to nothing came back"


def test_a_join_makes_way_only_so_often(
    alice: Client, host: Host, jobs: list[Any], slow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = host.room("11")
    for _ in range(rate_limits.LIMITS["long_joins"].burst):
        rate_limits.check("long_joins", turns.EVERYBODY)
    monkeypatch.setattr(work, "MOST_AGAIN", 0)
    refused(join(alice, room.room_id, host.remote.name), 429, "M_LIMIT_EXCEEDED")
    job = join_jobs.read(UserId(alice.user_id), RoomId(room.room_id))
    assert job is not None
    assert job.outcome == "failed"


def test_who_has_used_up_the_time_for_joins_begins_none(alice: Client, host: Host, jobs: list[Any]) -> None:
    rate_limits.check("join_seconds", alice.user_id, 145)
    refused(join(alice, host.room("11").room_id, host.remote.name), 429, "M_LIMIT_EXCEEDED")
    assert jobs == []
    assert taken("remote_join", alice.user_id) == 0


def test_a_join_that_is_tried_again_takes_time_again(alice: Client, host: Host, jobs: list[Any]) -> None:
    room = host.room("11")
    job = join_jobs.Job(
        UserId(alice.user_id), RoomId(room.room_id), [host.remote.name], {"membership": "join"}
    )
    assert join_jobs.begin(job, now_ms())
    rate_limits.check("join_seconds", alice.user_id, 145)
    run(job.user_id, job.room_id, 1)
    found = join_jobs.read(job.user_id, job.room_id)
    assert found is not None
    assert (found.outcome, (found.error or {}).get("status")) == ("failed", 429)
    assert taken("join_seconds", alice.user_id) == 145, "nothing was taken, so nothing came back"


def test_leaves_that_are_tried_again_wait_for_their_time(
    alice: Client, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    from murmuration.aws import queues
    from tests.federation.membership.test_invites import invite

    later: list[Any] = []
    room = host.room("11", rule="invite")
    ok(invite(host, room, UserId(alice.user_id)))
    monkeypatch.setattr(queues, "send_later", lambda _name, body, _delay_s: later.append(body))
    monkeypatch.setattr(leaving, "_leave_elsewhere", lambda *_, **__: None)
    leaving.leave_all_rooms(UserId(alice.user_id))
    message = {"user_id": alice.user_id, "room_id": room.room_id, "leave": 1}
    assert later.pop() == message
    rate_limits.check("join_seconds", alice.user_id, 145)
    leaving.leave_again(UserId(alice.user_id), RoomId(room.room_id), 1)
    assert later.pop() == message
    rate_limits.give_back("join_seconds", alice.user_id, now_ms(), 145)
    leaving.leave_again(UserId(alice.user_id), RoomId(room.room_id), 1)
    assert later.pop() == {**message, "leave": 2}
