"""Transactions of other servers are accepted at once and processed room by room."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from murmuration.federation.inbound.transactions import taking, working
from murmuration.federation.inbound.transactions.queueing import MOST_MESSAGE_BYTES
from murmuration.identity import rate_limits
from murmuration.identity.rate_limits import Limit
from murmuration.protocol.identifiers import RoomId, ServerName, UserId
from murmuration.protocol.pdus.signing import SigningKey, sign_event
from murmuration.settings import settings
from murmuration.storage.rooms import event_store
from tests.federation.peers import Peer, Worker, share_room
from tests.in_process import Client
from tests.rooms.other_servers import Mirror, log_ids
from tests.rooms.people import bodies, leave, messages, ok, send


def deep(levels: int) -> Any:
    return [deep(levels - 1)] if levels else []


def said(alice: Client, mirror: Mirror) -> list[str]:
    return bodies(messages(alice, mirror.room_id, limit=100)["chunk"])[::-1]


@pytest.mark.parametrize("version", ["1", "6", "10", "12"])
def test_messages_of_another_server_arrive(alice: Client, peer: Peer, worker: Worker, version: str) -> None:
    mirror = share_room(alice, peer, version=version)
    bob = UserId(f"@bob:{peer.name}")
    sent = [mirror.message(bob, text) for text in ("one", "two", "three")]
    answer = peer.send(*reversed(sent))
    assert (answer.status, answer.json) == (200, {"pdus": {event.event_id: {} for event in sent}})
    assert said(alice, mirror) == []
    assert worker.run() == 1
    assert said(alice, mirror) == ["one", "two", "three"]
    assert peer.asked == []
    send(alice, mirror.room_id, "four")
    mirror.catch_up()
    assert ok(peer.send(mirror.message(bob, "five")))
    worker.run()
    assert said(alice, mirror) == ["one", "two", "three", "four", "five"]


def test_one_broken_event_keeps_none_of_the_others(alice: Client, peer: Peer, worker: Worker) -> None:
    mirror = share_room(alice, peer)
    bob = UserId(f"@bob:{peer.name}")
    sent = [mirror.message(bob, f"m{number}") for number in range(43)]
    first = sent[0].pdu
    broken: list[Any] = [
        {**first, "depth": "deep"},
        "not an object",
        {"room_id": mirror.room_id},
        {**first, "content": {"n": 1.5}},
        {**first, "content": {"deep": deep(90)}},
        {**first, "room_id": "!" + "x" * 2000},
        None,
    ]
    answer = peer.send(*broken[:4], *sent, *broken[4:])
    assert (answer.status, answer.json) == (200, {"pdus": {event.event_id: {} for event in sent}})
    worker.run()
    assert said(alice, mirror) == [f"m{number}" for number in range(43)]


def test_repeating_changes_and_writes_nothing(
    alice: Client, peer: Peer, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.budgets.meter import Meter

    mirror = share_room(alice, peer)
    bob = UserId(f"@bob:{peer.name}")
    sent = [mirror.message(bob, text) for text in ("one", "two")]
    peer.send(*sent)
    worker.run()
    before = log_ids(mirror.room_id)
    peer.send(*sent)
    peer.send(sent[1])
    with Meter() as meter:
        assert worker.run() == 2
    assert meter.spent.write_units == 0
    assert log_ids(mirror.room_id) == before


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ({"pdus": [{}] * 51}, 400),
        ({"pdus": [], "edus": [{}] * 101}, 400),
        ({"pdus": {}}, 400),
        ({"pdus": [], "edus": "x"}, 400),
        ([], 400),
        ({"pdus": [], "pad": "x" * taking.MOST_BYTES}, 413),
        ({"pdus": [], "edus": [{}, None, {"edu_type": "m.unknown", "content": {}}] * 30}, 200),
        ({}, 200),
    ],
)
def test_limits_of_a_transaction(peer: Peer, worker: Worker, content: Any, status: int) -> None:
    answer = peer.call("PUT", "/_matrix/federation/v1/send/1", content)
    assert answer.status == status, answer.body[:200]
    assert worker.run() == 0


def test_four_megabytes_pass_in_several_messages(alice: Client, peer: Peer, worker: Worker) -> None:
    mirror = share_room(alice, peer)
    bob = UserId(f"@bob:{peer.name}")
    sent = [mirror.message(bob, f"{number} " + "ü\uffff" * 12_000) for number in range(50)]
    assert peer.send(*sent).status == 200
    sizes = []
    for message in worker.messages():
        assert message["Body"].isascii()
        sizes.append(len(message["Body"]))
        working.work(json.loads(message["Body"]))
    assert len(sizes) > 10
    assert max(sizes) <= MOST_MESSAGE_BYTES < 262_144
    assert set(log_ids(mirror.room_id)) >= {event.event_id for event in sent}


def test_one_server_cannot_fill_the_queue(
    alice: Client, peer: Peer, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = share_room(alice, peer)
    monkeypatch.setenv("MURMURATION_RATE_LIMITS", "on")
    settings.cache_clear()
    limits = {**rate_limits.LIMITS, "federation_pdu": Limit(0.001, 5)}
    monkeypatch.setattr(rate_limits, "LIMITS", limits)
    bob = UserId(f"@bob:{peer.name}")
    sent = [mirror.message(bob, str(number)) for number in range(6)]
    assert peer.send(*sent[:3]).status == 200
    answer = peer.send(*sent[3:])
    assert (answer.status, answer.json["errcode"]) == (429, "M_LIMIT_EXCEEDED")
    assert int(answer.headers["Retry-After"]) > 0
    assert peer.send(*sent[3:5]).status == 200
    worker.run()
    monkeypatch.undo()
    settings.cache_clear()
    assert said(alice, mirror) == ["0", "1", "2", "3", "4"]


def test_rooms_that_are_not_ours(alice: Client, peer: Peer, worker: Worker) -> None:
    mirror = share_room(alice, peer)
    bob = UserId(f"@bob:{peer.name}")
    left = mirror.message(bob, "to nobody")
    leave(alice, mirror.room_id)
    foreign = {**left.pdu, "room_id": "!unknown:elsewhere.example"}
    assert peer.send(left, foreign).json == {"pdus": {}}
    assert worker.run() == 0
    assert event_store.read([left.event_id], mirror.version, RoomId(mirror.room_id)) == {}
    # One that was queued while somebody was still there isn't taken either.
    counts = working.work({"origin": peer.name, "room_id": mirror.room_id, "pdus": [left.pdu]})
    assert counts == {"not_our_room": 1}


def test_acl_is_of_the_sending_server(alice: Client, peer: Peer, third: Peer, worker: Worker) -> None:
    from tests.rooms.people import set_state

    mirror = share_room(alice, peer, third)
    acl = {"allow": ["*"], "deny": [third.name.upper()]}
    set_state(alice, mirror.room_id, "m.room.server_acl", acl)
    mirror.catch_up()
    bob = UserId(f"@bob:{peer.name}")
    message = mirror.message(bob, "by way of a denied server")
    elsewhere = share_room(alice, third).message(UserId(f"@bob:{third.name}"), "where it may speak")
    answer = third.send(message, elsewhere, {"room_id": mirror.room_id, "type": "m.broken"})
    denied = {"error": "The room's access control list denies your server"}
    assert answer.json == {"pdus": {message.event_id: denied, elsewhere.event_id: {}}}
    assert worker.run() == 1, "nothing is queued of what is refused"
    assert said(alice, mirror) == []
    peer.send(message)
    worker.run()
    assert said(alice, mirror) == ["by way of a denied server"]


# -- What no signature of the sender's server proves ---------------------------------------------------------


def test_another_servers_signature_is_not_the_senders(
    alice: Client, peer: Peer, third: Peer, worker: Worker
) -> None:
    """Some other implementations accepted the valid signature of any server as the sender's."""
    mirror = share_room(alice, peer, third)
    genuine = mirror.message(UserId(f"@bob:{peer.name}"), "forged", learn=False)
    pdu = copy.deepcopy(genuine.pdu)
    pdu["signatures"] = {}
    forged = sign_event(pdu, ServerName(third.name), third.key, mirror.version)
    third.send(forged if isinstance(forged, dict) else pdu)
    worker.run()
    assert said(alice, mirror) == []
    assert event_store.read([genuine.event_id], mirror.version, RoomId(mirror.room_id)) == {}


@pytest.mark.parametrize("signatures", [{}, {"nobody.example": {"ed25519:1": "x" * 86}}])
def test_without_the_senders_signature_nothing_is_taken(
    alice: Client, peer: Peer, worker: Worker, signatures: Any
) -> None:
    mirror = share_room(alice, peer)
    event = mirror.message(UserId(f"@bob:{peer.name}"), "unsigned", learn=False)
    peer.send({**event.pdu, "signatures": signatures})
    worker.run()
    assert said(alice, mirror) == []
    assert event_store.read([event.event_id], mirror.version, RoomId(mirror.room_id)) == {}


def test_wrong_signature(alice: Client, peer: Peer, worker: Worker) -> None:
    mirror = share_room(alice, peer)
    key = SigningKey(b"w" * 32, "1")
    event = mirror.message(UserId(f"@bob:{peer.name}"), "wrong", learn=False, signing_key=key)
    peer.send(event)
    worker.run()
    assert said(alice, mirror) == []
    assert worker.retry() == 0


def test_wrong_content_hash_keeps_the_redacted_form(alice: Client, peer: Peer, worker: Worker) -> None:
    mirror = share_room(alice, peer)
    event = mirror.message(UserId(f"@bob:{peer.name}"), "genuine")
    changed = {**event.pdu, "content": {"msgtype": "m.text", "body": "changed on the way"}}
    peer.send(changed)
    worker.run()
    stored = event_store.read([event.event_id], mirror.version, RoomId(mirror.room_id))[event.event_id]
    assert (stored.kind, stored.event.content) == ("accepted", {})


def test_what_the_rules_forbid_is_rejected(alice: Client, peer: Peer, worker: Worker) -> None:
    """A rule that raises an error counts as a refusal."""
    mirror = share_room(alice, peer)
    bob = UserId(f"@bob:{peer.name}")
    levels = {"users": "everybody"}
    wrong = mirror.state(bob, "m.room.power_levels", levels, learn=False)
    stranger = mirror.message(UserId(f"@mallory:{peer.name}"), "not in the room", learn=False)
    fine = mirror.message(bob, "fine")
    peer.send(wrong, stranger, fine)
    worker.run()
    assert said(alice, mirror) == ["fine"]
    kinds = event_store.read([wrong.event_id, stranger.event_id], mirror.version, RoomId(mirror.room_id))
    assert [it.kind for it in kinds.values()] == ["rejected"] * 2


def test_events_come_without_event_id_and_get_theirs(alice: Client, peer: Peer, worker: Worker) -> None:
    mirror = share_room(alice, peer)
    event = mirror.message(UserId(f"@bob:{peer.name}"), "by hash")
    assert "event_id" not in event.pdu
    peer.send(event)
    worker.run()
    assert log_ids(mirror.room_id)[-1] == event.event_id
