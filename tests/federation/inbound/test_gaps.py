"""Events after a gap are delivered. The missing ones are requested once, and again later."""

from __future__ import annotations

from typing import Any

import pytest

from murmuration import clock as clock_module
from murmuration.federation.inbound.transactions import working
from murmuration.federation.keys import fetching
from murmuration.protocol.identifiers import RoomId, ServerName, UserId
from murmuration.storage import parked
from murmuration.storage.rooms import event_store, room_items
from murmuration.storage.servers import parked_pdus, unobtainable
from tests.federation.network import Reply
from tests.federation.peers import Peer, Worker, share_room
from tests.in_process import Client
from tests.rooms.other_servers import Mirror, current_state, log_ids
from tests.rooms.people import V3, ok

GONE = Reply({"errcode": "M_NOT_FOUND", "error": "?"}, 404)


def said(_: Client, mirror: Mirror) -> list[str]:
    """Return the messages in the log. Reading as a client would fetch the past."""
    entries = room_items.read_log(RoomId(mirror.room_id), mirror.version)
    return [it.event.content["body"] for it in entries if it.event.type == "m.room.message"]


class Clock:
    """Moves the time of what is parked and what isn't asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead_ms = 0
        real = clock_module.now_ms
        for module in (parked_pdus, parked, unobtainable, fetching):
            monkeypatch.setattr(module, "now_ms", lambda: real() + self.ahead_ms)

    def advance(self, hours: float) -> None:
        self.ahead_ms += int(hours * 3_600_000)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_missing_events_are_asked_for_once(alice: Client, peer: Peer, worker: Worker) -> None:
    mirror = share_room(alice, peer)
    bob = UserId(f"@bob:{peer.name}")
    sent = [mirror.message(bob, f"m{number}") for number in range(5)]
    peer.send(sent[-1])
    worker.run()
    assert peer.asked == ["get_missing_events"]
    assert said(alice, mirror) == [f"m{number}" for number in range(5)]


def test_a_gap_nobody_fills_costs_one_round(alice: Client, peer: Peer, worker: Worker) -> None:
    """The newer event is delivered with a gap. The events that follow cause no further requests."""
    mirror = share_room(alice, peer)
    bob = UserId(f"@bob:{peer.name}")
    lost = mirror.message(bob, "lost")
    since = ok(alice.get(f"{V3}/sync"))["next_batch"]
    mirror.secret.add(lost.event_id)
    after = mirror.message(bob, "after")
    sibling = mirror.topic(bob, "a topic that bob may not set", after=lost, learn=False)
    peer.send(after)
    worker.run()
    assert peer.asked == ["get_missing_events", "state_ids"]
    room = ok(alice.get(f"{V3}/sync", since=since))["rooms"]["join"][mirror.room_id]
    assert (room["timeline"]["limited"], said(alice, mirror)) == (True, ["after"])
    peer.send(mirror.message(bob, "and on", after=after))
    worker.run()
    assert len(peer.asked) == 2
    # Another event with the same gap: its state is asked for, the missing event isn't.
    other = mirror.message(bob, "other", after=lost, learn=False)
    mirror.learn(other)
    peer.send(other)
    worker.run()
    assert peer.asked.count("get_missing_events") == 1
    assert sibling.event_id not in log_ids(mirror.room_id)


def test_an_event_with_a_bad_signature_is_not_pulled_again(alice: Client, peer: Peer, worker: Worker) -> None:
    mirror = share_room(alice, peer)
    bob = UserId(f"@bob:{peer.name}")
    bad = mirror.message(bob, "bad")
    bad.pdu["signatures"] = {peer.name: {peer.key.key_id: "A" * 86}}
    for number in range(3):
        peer.send(mirror.message(bob, f"m{number}", after=bad))
        worker.run()
    assert peer.asked.count("get_missing_events") == 1
    assert sorted(said(alice, mirror)) == ["m0", "m1", "m2"]
    assert event_store.read([bad.event_id], mirror.version, RoomId(mirror.room_id)) == {}


def test_state_by_ids_fetches_only_what_is_unknown(alice: Client, peer: Peer, worker: Worker) -> None:
    mirror = share_room(alice, peer)
    bob, carol = UserId(f"@bob:{peer.name}"), UserId(f"@carol:{peer.name}")
    joined = mirror.member(carol, carol, "join")
    lost = mirror.message(bob, "lost")
    peer.lies["get_missing_events"] = {"events": []}
    message = mirror.message(bob, "carol came in the gap", after=lost)
    peer.send(message)
    worker.run()
    assert peer.asked == ["get_missing_events", "state_ids", "event"]
    assert said(alice, mirror) == ["carol came in the gap"]
    assert current_state(mirror.room_id)["m.room.member", carol] == joined.event_id


def test_much_that_is_unknown_comes_with_the_whole_state(alice: Client, peer: Peer, worker: Worker) -> None:
    mirror = share_room(alice, peer)
    people = [UserId(f"@p{number}:{peer.name}") for number in range(30)]
    for person in people:
        mirror.member(person, person, "join")
    lost = mirror.message(people[0], "lost")
    peer.lies["get_missing_events"] = {"events": []}
    peer.send(mirror.message(UserId(f"@bob:{peer.name}"), "hello", after=lost))
    worker.run()
    assert peer.asked == ["get_missing_events", "state_ids", "state"]
    assert said(alice, mirror) == ["hello"]
    assert ("m.room.member", people[29]) in current_state(mirror.room_id)


def test_another_server_is_asked_when_the_first_does_not_know(
    alice: Client, peer: Peer, third: Peer, worker: Worker
) -> None:
    mirror = share_room(alice, peer, third)
    bob = UserId(f"@bob:{peer.name}")
    mirror.message(bob, "lost")
    for what in ("get_missing_events", "state_ids"):
        peer.lies[what] = GONE
    peer.send(mirror.message(bob, "found elsewhere"))
    worker.run()
    assert third.asked == ["get_missing_events"]
    assert said(alice, mirror) == ["lost", "found elsewhere"]


def test_what_cannot_be_judged_waits_and_is_tried_again(
    alice: Client, peer: Peer, worker: Worker, clock: Clock
) -> None:
    mirror = share_room(alice, peer)
    bob = UserId(f"@bob:{peer.name}")
    mirror.message(bob, "lost")
    for what in ("get_missing_events", "state_ids"):
        peer.lies[what] = GONE
    late = mirror.message(bob, "late")
    peer.send(late)
    worker.run()
    assert said(alice, mirror) == []
    assert worker.retry() == 0, "not yet"
    clock.advance(0.1)
    asked = len(peer.asked)
    assert worker.retry() == 1
    assert len(peer.asked) == asked, "asked again only after an hour"
    assert worker.retry() == 0
    peer.lies.clear()
    clock.advance(1.1)
    assert worker.retry() == 1
    assert said(alice, mirror) == ["lost", "late"]
    clock.advance(10)
    assert worker.retry() == 0, "it isn't parked any more"


def test_what_waited_for_a_day_is_given_up(alice: Client, peer: Peer, worker: Worker, clock: Clock) -> None:
    mirror = share_room(alice, peer)
    mirror.message(UserId(f"@bob:{peer.name}"), "lost")
    for what in ("get_missing_events", "state_ids"):
        peer.lies[what] = GONE
    peer.send(mirror.message(UserId(f"@bob:{peer.name}"), "late"))
    worker.run()
    clock.advance(24.1)
    assert worker.retry() == 0
    clock.advance(24)
    assert parked_pdus.read_due(10) == []


def test_lacking_keys_are_no_wrong_signature(
    alice: Client, peer: Peer, third: Peer, worker: Worker, clock: Clock
) -> None:
    """The keys of the sender's server can't be fetched. The event waits, and is accepted once they can."""
    mirror = share_room(alice, peer, third)
    mara = UserId(f"@bob:{third.name}")
    assert third.server is not None
    message = mirror.message(mara, "signed by a server that is away")
    third.server.handler = lambda _: Reply({}, 503)
    counts = working.work({"origin": peer.name, "room_id": mirror.room_id, "pdus": [message.pdu]})
    assert counts == {"parked": 1}
    third.server.handler = third.answer
    clock.advance(7)
    from murmuration.federation.requests import health
    from murmuration.storage.servers import destinations

    destinations.clear(ServerName(third.name))
    health.forget()
    assert worker.retry() == 1
    assert said(alice, mirror) == ["signed by a server that is away"]


LIES: list[Any] = [
    {},
    [],
    {"events": "no"},
    {"events": [None, 1, "x", {}, {"room_id": 1}]},
    {"pdu_ids": [1, None, "x" * 5000, "$nonsense", "\ud800"], "auth_chain_ids": [], "events": []},
    {"pdu_ids": ["$" + "x" * 43] * 50, "auth_chain_ids": ["$" + "y" * 43] * 50, "events": []},
    Reply(b"not JSON"),
    Reply(b"[" * 100_000),
    Reply({}, 500),
    Reply(b"{" + b" " * 3_000_000 + b"}"),
]


@pytest.mark.parametrize("lie", LIES, ids=range(len(LIES)))
def test_lying_servers(alice: Client, peer: Peer, worker: Worker, lie: Any) -> None:
    """Nothing false is accepted, nothing fails, and the room continues to work."""
    mirror = share_room(alice, peer)
    bob = UserId(f"@bob:{peer.name}")
    before = current_state(mirror.room_id)
    mirror.message(bob, "lost")
    after = mirror.message(bob, "after")
    peer.lies = dict.fromkeys(["get_missing_events", "state_ids", "state", "event", "event_auth"], lie)
    peer.send(after)
    worker.run()
    assert (current_state(mirror.room_id), said(alice, mirror)) == (before, [])
    assert after.event_id not in event_store.read([after.event_id], mirror.version, RoomId(mirror.room_id)), (
        "it isn't rejected"
    )
    assert len(peer.asked) < 200
    asked = len(peer.asked)
    peer.send(after)
    worker.run()
    assert len(peer.asked) - asked <= 1
    from tests.rooms.people import send

    send(alice, mirror.room_id, "the room goes on")
    assert said(alice, mirror)[-1] == "the room goes on"
