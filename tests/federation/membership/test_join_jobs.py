"""Jobs of joins through other servers: those that take long continue, and each is done once at a time."""

from __future__ import annotations

import functools
import threading
from typing import Any

import pytest

from functions.workers.joins import join_remote_room
from murmuration.clock import now_ms
from murmuration.federation.membership import joining
from murmuration.identity import budgets, rate_limits
from murmuration.identity.turns import Turn
from murmuration.protocol.errors import LimitExceeded
from murmuration.protocol.identifiers import RoomId, ServerName, UserId
from murmuration.rooms.room import Room
from murmuration.settings import settings
from murmuration.storage.rooms import member_index
from murmuration.storage.servers import join_jobs
from tests.federation.hosting import Host
from tests.federation.membership.test_joining import join, sync
from tests.in_process import Client
from tests.local_cloud.waiting import PATIENCE_S
from tests.rooms.people import ok, refused

pytestmark = pytest.mark.usefixtures("jobs")


def test_a_join_that_takes_long_goes_on(
    alice: Client, host: Host, jobs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request ends. A repeated request waits for the same job. The room appears when the job is done."""
    from murmuration.aws import queues
    from murmuration.federation.membership.jobs import run

    room = host.room("11")
    sent: list[Any] = []
    monkeypatch.setattr(queues, "send", lambda _name, body, **_: sent.append(body))
    monkeypatch.setattr(joining, "WAIT_SECONDS", 0.2)
    for _ in range(2):
        refused(join(alice, room.room_id, host.remote.name), 504, "M_UNKNOWN")
    assert len(sent) == 1
    assert jobs == []
    run(UserId(alice.user_id), RoomId(room.room_id))
    assert ok(join(alice, room.room_id, host.remote.name)) == {"room_id": room.room_id}
    assert room.room_id in sync(alice)["rooms"]["join"]


def test_a_job_is_done_once_at_a_time(alice: Client) -> None:
    job = join_jobs.Job(
        UserId(alice.user_id), RoomId("!a:b.example"), [ServerName("b.example")], {"membership": "join"}
    )
    assert join_jobs.begin(job, 1000)
    assert not join_jobs.begin(job, 1001)
    assert join_jobs.claim(job.user_id, job.room_id, 2000, 10_000) is not None
    assert join_jobs.claim(job.user_id, job.room_id, 3000, 11_000) is None
    again = join_jobs.claim(job.user_id, job.room_id, 10_001, 20_000)  # who claimed it has stopped
    assert again is not None
    join_jobs.finish(again, "joined")
    assert join_jobs.claim(job.user_id, job.room_id, 30_000, 40_000) is None
    assert join_jobs.begin(job, 30_000)


def test_a_join_that_ends_lets_the_user_begin_another(
    alice: Client, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    room, now = host.room("11"), now_ms()
    monkeypatch.setenv("MURMURATION_RATE_LIMITS", "on")
    settings.cache_clear()
    monkeypatch.setattr(rate_limits, "now_ms", lambda: now)
    for _ in range(rate_limits.LIMITS["remote_join"].burst - 1):
        rate_limits.check("remote_join", alice.user_id)
    ok(join(alice, room.room_id, host.remote.name))
    taken_ms = rate_limits.check("remote_join", alice.user_id)
    with pytest.raises(LimitExceeded):
        rate_limits.check("remote_join", alice.user_id)
    rate_limits.give_back("remote_join", alice.user_id, taken_ms)
    refused(join(alice, "!none:" + host.remote.name, host.remote.name), 404, "M_NOT_FOUND")
    rate_limits.check("remote_join", alice.user_id)


def test_servers_are_asked_for_minutes_and_no_longer(
    alice: Client, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    from murmuration.federation.membership import jobs as work

    room = host.room("11")
    monkeypatch.setattr(work, "TOTAL_SECONDS", -1)
    refused(join(alice, room.room_id, host.remote.name), 504, "M_UNKNOWN")


def test_the_user_pays_for_the_worker(alice: Client, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    paid: list[tuple[str, float]] = []
    monkeypatch.setenv("MURMURATION_RATE_LIMITS", "on")
    settings.cache_clear()
    monkeypatch.setattr(budgets, "charge", lambda owner, amount: paid.append((owner, amount)))
    join_remote_room.handler.function({"user_id": alice.user_id, "room_id": "!nothing:to.do"})
    ((owner, amount),) = paid
    assert owner == alice.user_id
    assert amount > 0


def test_the_claim_of_who_works_is_renewed(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the claim can be short, and a worker that died delays the user only for a short time."""
    from murmuration.federation.membership import jobs as work

    job = join_jobs.Job(
        UserId(alice.user_id), RoomId("!a:b.example"), [ServerName("b.example")], {"membership": "join"}
    )
    assert join_jobs.begin(job, now_ms())
    was_renewed, renew = threading.Event(), join_jobs.renew

    def note(of: join_jobs.Job, until_ms: int) -> None:
        renew(of, until_ms)
        was_renewed.set()

    def long_join(of: join_jobs.Job, _turn: object) -> None:
        assert was_renewed.wait(PATIENCE_S)
        assert join_jobs.claim(of.user_id, of.room_id, now_ms() + 30_000, now_ms() + 90_000) is None

    monkeypatch.setattr(work, "CLAIM_MS", 3_600_000)
    monkeypatch.setattr(work, "RENEWED_SECONDS", 0.01)
    monkeypatch.setattr(join_jobs, "renew", note)
    monkeypatch.setattr(work, "join", long_join)
    monkeypatch.setattr(join_jobs, "claim", functools.partial(_claim_for_a_moment, join_jobs.claim))
    work.run(job.user_id, job.room_id)
    found = join_jobs.read(job.user_id, job.room_id)
    assert found is not None
    assert found.outcome == "joined"
    renew(found, now_ms() + 10**9)
    assert join_jobs.begin(job, now_ms()), "a job that is over isn't held"


def _claim_for_a_moment(claim: Any, user_id: str, room_id: str, now: int, until_ms: int) -> Any:
    """Make a claim that would end at once if nobody renewed it."""
    return claim(user_id, room_id, now, now if until_ms - now > 3_000_000 else until_ms)


def test_a_job_done_twice_is_one_join(alice: Client, host: Host) -> None:
    from murmuration.federation.membership import jobs as work

    room = host.room("11")
    job = join_jobs.Job(
        UserId(alice.user_id), RoomId(room.room_id), [ServerName(host.remote.name)], {"membership": "join"}
    )
    work.join(job, Turn(job.user_id))
    first = Room.load(RoomId(room.room_id))
    work.join(job, Turn(job.user_id))
    second = Room.load(RoomId(room.room_id))
    assert second.head.joined == first.head.joined == 2
    assert member_index.read_servers(second.head) == {host.remote.name: 1}
