"""A worker that stops anywhere, runs twice or runs out of time loses and repeats nothing."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from murmuration.aws import calls
from murmuration.aws.calls import Answer, Call, Proceed
from murmuration.federation.inbound.asking import Asking
from murmuration.federation.inbound.transactions import working
from murmuration.protocol.identifiers import UserId
from tests.federation.inbound.test_transactions import said
from tests.federation.peers import Peer, Worker, share_room
from tests.in_process import Client
from tests.rooms.other_servers import current_state, log_ids
from tests.rooms.people import set_state

WRITES = ("PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "BatchWriteItem")


class Stopped(Exception):
    """The function's process has ended."""


class Stop:
    """Ends the process at the n-th write, before or after it is carried out."""

    def __init__(self, at: int, *, after: bool) -> None:
        self.left = at
        self.after = after

    def __enter__(self) -> Stop:
        calls.intercept(self._count)
        return self

    def __exit__(self, *_: Any) -> None:
        calls.release(self._count)

    def _count(self, call: Call, proceed: Proceed) -> Answer:
        if call.service != "dynamodb" or call.operation not in WRITES:
            return proceed(call)
        self.left -= 1
        if self.left:
            return proceed(call)
        if self.after:
            proceed(call)
        raise Stopped


@pytest.mark.parametrize("after", [False, True])
def test_stopping_at_any_write(alice: Client, peer: Peer, after: bool) -> None:
    """Messages, a filled gap and a new member: the queue's message comes again until it is processed."""
    mirror = share_room(alice, peer)
    bob, carol = UserId(f"@bob:{peer.name}"), UserId(f"@carol:{peer.name}")
    for at in itertools.count(1):
        early = mirror.message(bob, f"early {at}")
        joined = mirror.member(carol, carol, "leave" if at % 2 == 0 else "join")
        late = mirror.message(bob, f"late {at}")
        message = {"origin": peer.name, "room_id": mirror.room_id, "pdus": [late.pdu]}
        try:
            with Stop(at, after=after):
                working.work(json.loads(json.dumps(message)))
            stopped = False
        except Stopped:
            stopped = True
            working.work(json.loads(json.dumps(message)))
        ids = log_ids(mirror.room_id)
        assert ids[-3:] == [early.event_id, joined.event_id, late.event_id]
        assert len(set(ids)) == len(ids)
        assert current_state(mirror.room_id) == mirror.resolve(mirror.newest())
        if not stopped:
            break
    assert at > 3


def test_running_twice_at_once(alice: Client, peer: Peer) -> None:
    from concurrent.futures import ThreadPoolExecutor

    mirror = share_room(alice, peer)
    sent = [mirror.message(UserId(f"@bob:{peer.name}"), f"m{number}") for number in range(6)]
    message = {"origin": peer.name, "room_id": mirror.room_id, "pdus": [it.pdu for it in sent]}
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(working.work, [message, message]))
    ids = log_ids(mirror.room_id)
    assert [it for it in ids if it in {event.event_id for event in sent}] == [it.event_id for it in sent]


def test_when_the_time_is_over_the_rest_is_queued_again(
    alice: Client, peer: Peer, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = share_room(alice, peer)
    sent = [mirror.message(UserId(f"@bob:{peer.name}"), f"m{number}") for number in range(4)]
    message = {"origin": peer.name, "room_id": mirror.room_id, "pdus": [it.pdu for it in sent]}
    with monkeypatch.context() as patch:
        patch.setattr(working, "SECONDS", 0.0)
        assert working.work(message) == {"queued_again": 4}
    assert said(alice, mirror) == []
    assert worker.run() == 1
    assert said(alice, mirror) == ["m0", "m1", "m2", "m3"]


def test_nobody_is_asked_once_the_time_is_over(
    alice: Client, peer: Peer, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events that need other servers then wait. The rest of the room is processed."""
    mirror = share_room(alice, peer)
    bob = UserId(f"@bob:{peer.name}")
    fine = mirror.message(bob, "fine")
    mirror.message(bob, "missing")
    late = mirror.message(bob, "late")
    monkeypatch.setattr(working, "Asking", lambda room, origin: Asking(room, origin, 0.0))
    peer.send(late, fine)
    worker.run()
    assert (said(alice, mirror), peer.asked) == (["fine"], [])


def test_a_redaction_that_comes_before_its_target(alice: Client, peer: Peer, worker: Worker) -> None:
    mirror = share_room(alice, peer)
    set_state(alice, mirror.room_id, "m.room.topic", {"topic": "t"})
    mirror.catch_up()
    bob = UserId(f"@bob:{peer.name}")
    first = mirror.message(bob, "take this back")
    redaction = mirror.make(bob, "m.room.redaction", {"redacts": first.event_id})
    peer.send(redaction, first)
    worker.run()
    assert log_ids(mirror.room_id)[-2:] == [first.event_id, redaction.event_id]
