"""Events of other servers in a room with a policy server."""

from __future__ import annotations

from typing import Any

import pytest

from murmuration.aws import dynamodb
from murmuration.federation.inbound.receiving import receive
from murmuration.federation.inbound.transactions import working
from murmuration.federation.requests import health
from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import RoomId, ServerName, UserId
from murmuration.rooms.room import Room
from murmuration.storage import parked
from murmuration.storage.rooms import event_store, room_items
from murmuration.storage.servers import destinations
from tests.budgets.meter import Meter
from tests.federation.network import Reply
from tests.federation.peers import Peer, Worker
from tests.federation.policy.conftest import SPAM, PolicyServer, guard
from tests.in_process import Client
from tests.rooms.large_rooms import fill
from tests.rooms.other_servers import Mirror, current_state, log_ids
from tests.rooms.people import messages, ok, path, send, set_state

DOWN = Reply({"errcode": "M_UNKNOWN", "error": "Down"}, 503)


@pytest.fixture
def bob(peer: Peer) -> str:
    return f"@bob:{peer.name}"


def take(mirror: Mirror, *events: Event) -> list[str]:
    return mirror.kinds(*events)


def kept(mirror: Mirror, event: Event) -> Any:
    return event_store.read([event.event_id], mirror.version, RoomId(mirror.room_id))[event.event_id]


def come_round(policy: PolicyServer) -> None:
    """Make the policy server reachable again, and forget that it wasn't."""
    dynamodb.execute(dynamodb.delete(destinations.TABLE, destinations._key(ServerName(policy.name))))
    health.forget()


def make_due() -> None:
    for item in dynamodb.scan(parked.TABLE):
        if "due_ms" in item:
            dynamodb.execute(dynamodb.put(parked.TABLE, {**item, "due_ms": 0}))


def bodies(client: Client, room_id: str) -> list[str]:
    return [it["content"]["body"] for it in messages(client, room_id)["chunk"] if "body" in it["content"]]


def test_a_signed_event_is_taken_unasked(mirror: Mirror, policy: PolicyServer, bob: UserId) -> None:
    event = policy.endorse(mirror.message(bob, "hello"))
    assert (take(mirror, event), policy.judged) == (["accepted"], [])


def test_an_unsigned_event_is_signed_when_it_comes(mirror: Mirror, policy: PolicyServer, bob: UserId) -> None:
    """It is signed once. The signature is stored with the event, beside all others."""
    event = mirror.message(bob, "hello")
    assert take(mirror, event, event) == ["accepted", "accepted"]
    assert policy.texts == ["hello"]
    found = room_items.read_log(RoomId(mirror.room_id), mirror.version)[-1].event
    assert found.pdu == policy.endorse(event).pdu


@pytest.mark.parametrize("of_policy_server", [False, True])
def test_a_wrong_signature_is_replaced(
    mirror: Mirror, policy: PolicyServer, bob: UserId, of_policy_server: bool
) -> None:
    """The policy server's key may have changed. The signature of the sender's server stays, even if it is the
    same server.
    """
    sender = UserId(f"@bob:{policy.name}") if of_policy_server else bob
    event = mirror.message(sender, "hello")
    given = event.pdu["signatures"]
    wrong = {**given.get(policy.name, {}), "ed25519:policy_server": "A" * 86}
    stale = Event({**event.pdu, "signatures": {**given, policy.name: wrong}}, mirror.version)
    assert take(mirror, stale) == ["accepted"]
    found = room_items.read_log(RoomId(mirror.room_id), mirror.version)[-1].event
    assert found.pdu["signatures"] == policy.endorse(event).pdu["signatures"]


@pytest.mark.parametrize("reply", [SPAM, {}, Reply({"errcode": "M_NOT_FOUND", "error": "?"}, 404)])
def test_a_refused_event_is_soft_failed_for_good(
    alice: Client, mirror: Mirror, policy: PolicyServer, peer: Peer, worker: Worker, bob: UserId, reply: Any
) -> None:
    policy.forbid("spam", reply)
    event = mirror.message(bob, "spam")
    peer.send(event)
    worker.run()
    assert kept(mirror, event).kind == "soft_failed"
    assert (bodies(alice, mirror.room_id), policy.texts) == ([], ["spam"])
    make_due()
    peer.send(event)
    worker.run()
    assert worker.retry() == 0
    assert (take(mirror, event), policy.texts) == (["soft_failed"], ["spam"]), "it isn't asked again"
    after = policy.endorse(mirror.message(bob, "follows it", after=event))
    assert take(mirror, after) == ["accepted"]


def test_the_event_that_names_it_needs_no_signature(
    mirror: Mirror, policy: PolicyServer, peer: Peer, alice: Client, bob: UserId
) -> None:
    policy.judge = lambda _: SPAM
    set_state(alice, mirror.room_id, "m.room.policy", {})
    policy.judge = lambda _: True
    levels = {"users": {bob: 100}}
    if mirror.version.privileged_creators:
        set_state(alice, mirror.room_id, "m.room.power_levels", levels)
    mirror.catch_up()
    guard(alice, mirror, policy)
    policy.judge = lambda _: SPAM
    assert take(mirror, mirror.state(bob, "m.room.policy", {})) == ["accepted"]
    assert policy.judged == []


def test_what_was_not_decided_is_decided_later(
    alice: Client, mirror: Mirror, policy: PolicyServer, peer: Peer, worker: Worker, bob: UserId
) -> None:
    """The event is soft-failed while the policy server is down, and shown once it is signed. Nothing waits
    for it.
    """
    policy.judge = lambda _: DOWN
    event = mirror.message(bob, "unsigned")
    follower = policy.endorse(mirror.message(bob, "signed", after=event))
    peer.send(event, follower)
    worker.run()
    assert (kept(mirror, event).kind, bodies(alice, mirror.room_id)) == ("soft_failed", ["signed"])
    make_due()
    worker.retry()
    assert bodies(alice, mirror.room_id) == ["signed"]
    asked = len(policy.judged)
    come_round(policy)
    policy.judge = lambda _: True
    make_due()
    worker.retry()
    assert bodies(alice, mirror.room_id) == ["unsigned", "signed"]
    assert len(policy.judged) == asked + 1
    stored = kept(mirror, event)
    assert (stored.kind, stored.event.pdu) == ("accepted", policy.endorse(event).pdu)
    key = {"room_id": mirror.room_id, "sk": f"kept#{event.event_id}"}
    assert dynamodb.get(room_items.ROOMS, key) is None
    make_due()
    assert worker.retry() == 0, "it isn't parked any more"
    log_ids(mirror.room_id)
    send(alice, mirror.room_id, "goes on")
    assert bodies(alice, mirror.room_id)[0] == "goes on"


def test_what_came_before_is_decided_later_too(
    alice: Client, mirror: Mirror, policy: PolicyServer, peer: Peer, worker: Worker, bob: UserId
) -> None:
    """Fetched older events wait in the same way as events that were sent."""
    policy.judge = lambda _: DOWN
    first = mirror.message(bob, "first")
    second = mirror.message(bob, "second", after=first)
    peer.send(policy.endorse(mirror.message(bob, "third", after=second)))
    worker.run()
    assert bodies(alice, mirror.room_id) == ["third"]
    come_round(policy)
    policy.judge = lambda _: True
    make_due()
    worker.retry()
    assert sorted(bodies(alice, mirror.room_id)) == ["first", "second", "third"]


def test_what_fills_a_gap_is_decided_later_too(
    mirror: Mirror, policy: PolicyServer, peer: Peer, worker: Worker, bob: UserId
) -> None:
    """It gets its place in the past, before what follows it."""
    first = mirror.message(bob, "first")
    second = policy.endorse(mirror.message(bob, "second", after=first))
    mirror.hidden.add(first.event_id)
    peer.send(second)
    worker.run()
    assert log_ids(mirror.room_id)[-1] == second.event_id
    policy.judge = lambda _: DOWN
    peer.send(first)
    worker.run()
    assert kept(mirror, first).kind == "soft_failed"
    come_round(policy)
    policy.judge = lambda _: True
    make_due()
    worker.retry()
    assert kept(mirror, first).kind == "accepted"
    entry = kept(mirror, first).entry
    assert entry is not None
    assert entry.is_past
    assert log_ids(mirror.room_id)[-2:] == [first.event_id, second.event_id]
    assert Room.load(RoomId(mirror.room_id)).head.extremities == (second.event_id,)


def test_a_state_event_that_was_not_decided(
    mirror: Mirror, policy: PolicyServer, peer: Peer, worker: Worker, alice: Client
) -> None:
    """A join counts for nothing until it is signed, and then it does."""
    carol = UserId(f"@carol:{peer.name}")
    policy.judge = lambda _: DOWN
    event = mirror.member(carol, carol, "join")
    peer.send(event)
    worker.run()
    assert Room.load(RoomId(mirror.room_id)).membership(carol) is None
    come_round(policy)
    policy.judge = lambda _: True
    make_due()
    worker.retry()
    assert Room.load(RoomId(mirror.room_id)).membership(carol) == "join"
    assert current_state(mirror.room_id)["m.room.member", carol] == event.event_id
    joined = ok(alice.get(path(mirror.room_id, "joined_members")))["joined"]
    assert carol in joined


def test_what_is_refused_when_it_is_asked_again(
    alice: Client, mirror: Mirror, policy: PolicyServer, peer: Peer, worker: Worker, bob: UserId
) -> None:
    policy.judge = lambda _: DOWN
    event = mirror.message(bob, "spam")
    peer.send(event)
    worker.run()
    come_round(policy)
    policy.judge = lambda _: SPAM
    make_due()
    worker.retry()
    assert kept(mirror, event).kind == "soft_failed"
    make_due()
    assert worker.retry() == 0
    assert bodies(alice, mirror.room_id) == []


def test_who_was_banned_meanwhile_is_not_heard(
    alice: Client, mirror: Mirror, policy: PolicyServer, peer: Peer, worker: Worker, bob: UserId
) -> None:
    """All checks are made again when the event is."""
    policy.judge = lambda pdu: DOWN if pdu["sender"] == bob else True
    event = mirror.message(bob, "unsigned")
    peer.send(event)
    worker.run()
    come_round(policy)
    ok(alice.post(path(mirror.room_id, "ban"), {"user_id": bob}))
    policy.judge = lambda _: True
    make_due()
    worker.retry()
    assert kept(mirror, event).kind == "soft_failed"
    make_due()
    assert worker.retry() == 0


def test_two_workers_decide_at_once(
    mirror: Mirror, policy: PolicyServer, peer: Peer, worker: Worker, bob: UserId
) -> None:
    """One of them puts the event into the log, the other finds it there."""
    policy.judge = lambda _: DOWN
    event = mirror.message(bob, "unsigned")
    assert take(mirror, event) == ["soft_failed"]
    come_round(policy)
    nested: list[str] = []

    def judge(_: Any) -> bool:
        if not nested:
            nested.append("begun")
            nested.append(receive(RoomId(mirror.room_id), event.pdu, mirror, again=True).kind)
        return True

    policy.judge = judge
    assert receive(RoomId(mirror.room_id), event.pdu, mirror, again=True).kind == "accepted"
    assert nested == ["begun", "accepted"]
    assert log_ids(mirror.room_id).count(event.event_id) == 1


def test_one_that_is_down_is_asked_once(
    mirror: Mirror, policy: PolicyServer, peer: Peer, worker: Worker, bob: UserId
) -> None:
    """It is left alone for a while then, like any server; of the events each is decided later."""
    policy.judge = lambda _: DOWN
    events = [mirror.message(bob, f"m{number}") for number in range(5)]
    peer.send(*events)
    worker.run()
    assert len(policy.judged) == 1
    come_round(policy)
    policy.judge = lambda _: True
    make_due()
    worker.retry()
    assert {kept(mirror, event).kind for event in events} == {"accepted"}


def test_a_join_by_our_help(mirror: Mirror, policy: PolicyServer, peer: Peer) -> None:
    """Whoever joins can't have asked: this server does, before it tells the others."""
    carol = UserId(f"@carol:{peer.name}")
    made = ok(peer.get("make_join", mirror.room_id, carol, ver=["12"]))
    assert made["event"]["content"]["membership"] == "join"
    policy.forbid("join")
    event = mirror.member(carol, carol, "join", learn=False)
    where = f"/_matrix/federation/v2/send_join/{mirror.room_id}/{event.event_id}"
    answer = peer.call("PUT", where, event.pdu)
    assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")
    policy.judge = lambda _: DOWN
    later = mirror.member(carol, carol, "join", learn=False, origin_server_ts=2)
    again = peer.call("PUT", f"/_matrix/federation/v2/send_join/{mirror.room_id}/{later.event_id}", later.pdu)
    assert (again.status, again.json["errcode"]) == (503, "M_UNKNOWN")
    come_round(policy)
    policy.judge = lambda _: True
    dora = UserId(f"@dora:{peer.name}")
    second = mirror.member(dora, dora, "join", learn=False)
    ok(peer.call("PUT", f"/_matrix/federation/v2/send_join/{mirror.room_id}/{second.event_id}", second.pdu))
    found = room_items.read_log(RoomId(mirror.room_id), mirror.version)[-1]
    assert (found.event.pdu, found.relayed) == (policy.endorse(second).pdu, True)


def test_what_it_costs_in_a_large_room(mirror: Mirror, policy: PolicyServer, peer: Peer, bob: UserId) -> None:
    """Whether a room uses a policy server is known by one small read, whatever its members."""
    fill(mirror.room_id, 2_000)
    for text in ("cold", "warm"):
        event = policy.endorse(mirror.message(bob, text))
        message = {"origin": peer.name, "room_id": mirror.room_id, "pdus": [event.pdu]}
        with Meter() as meter:
            assert working.work(message) == {"accepted": 1}
    assert (meter.spent.round_trips, meter.spent.read_units) <= (6, 13), str(meter.spent)
    assert meter.spent.write_units <= 8, str(meter.spent)
