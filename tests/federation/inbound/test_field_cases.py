"""Events that real servers have sent and that broke rooms or servers elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import UserId
from murmuration.protocol.pdus.signing import sign_event
from murmuration.rooms.room import Room
from murmuration.storage.rooms import room_items
from tests.federation.inbound.test_hostile_graphs import changed
from tests.federation.inbound.test_transactions import said
from tests.federation.peers import Peer, Worker, share_room
from tests.in_process import Client
from tests.rooms.other_servers import log_ids
from tests.rooms.people import V3, path, send

V1 = "/_matrix/client/v1"


TIMES = (-1, -(2**53) + 1, 0, 2**53 - 1)
LARGE = (2**62, -(10**40), 10**400)
"""Only events of versions before 6 may have such numbers."""


@pytest.mark.parametrize(
    ("version", "ts"), [("12", ts) for ts in TIMES] + [("4", ts) for ts in (2**53 - 1, *LARGE)]
)
def test_times_that_cannot_be(alice: Client, peer: Peer, worker: Worker, version: str, ts: int) -> None:
    """Timestamps are chosen by servers, and may have any size in old rooms. Clients can read the room and
    write.
    """
    mirror = share_room(alice, peer, version=version)
    bob = UserId(f"@bob:{peer.name}")
    odd = changed(peer, mirror.message(bob, "odd", learn=False), origin_server_ts=ts)
    peer.send(odd, mirror.message(bob, "fine"))
    worker.run()
    shown = set(said(alice, mirror))
    assert "fine" in shown
    for request in (
        alice.get(f"{V3}/sync"),
        alice.get(path(mirror.room_id, "messages"), dir="b", limit=10),
        alice.get(path(mirror.room_id, "timestamp_to_event", version=V1), ts=2**53 - 1, dir="b"),
        alice.get(path(mirror.room_id, "timestamp_to_event", version=V1), ts=0, dir="f"),
        alice.post(f"{V3}/search", {"search_categories": {"room_events": {"search_term": "odd"}}}),
        alice.get(path(mirror.room_id, "context", log_ids(mirror.room_id)[-1])),
    ):
        assert request.status == 200, request.body
    send(alice, mirror.room_id, "after")
    assert "after" in said(alice, mirror)


@pytest.mark.parametrize("version", ["6", "8", "10", "11", "12"])
@pytest.mark.parametrize("signed", [{}, {"mxid": "@eve:third.example", "token": "x", "signatures": {}}, None])
def test_an_invite_that_only_pretends_to_be_by_address(
    alice: Client, peer: Peer, worker: Worker, version: str, signed: Any
) -> None:
    """An invite by address needs no signature of its sender's server, only the identity server's.

    If its content hash is wrong, the event is redacted. In most versions the redacted event has no trace of
    an address. So it would be an invite that anybody could forge without a signature.
    """
    mirror = share_room(alice, peer, version=version)
    eve = UserId(f"@eve:{peer.name}")
    content = {"membership": "invite", "third_party_invite": {"signed": signed}}
    for right_hash in (False, True):
        draft = mirror.make(UserId(alice.user_id), "m.room.member", content, eve, learn=False)
        forged = changed(peer, draft, origin_server_ts=draft.origin_server_ts + right_hash)
        hashes = forged.pdu["hashes"] if right_hash else {"sha256": "A" * 43}
        signatures = {peer.name: forged.pdu["signatures"][peer.name]}
        for some in (signatures, {}):
            peer.send({**forged.pdu, "hashes": hashes, "signatures": some})
            worker.run()
            assert Room.load(mirror.room_id).membership(eve) is None
            assert forged.event_id not in log_ids(mirror.room_id)


@pytest.mark.parametrize("is_there", [True, False])
def test_another_server_cannot_spoil_an_event(
    alice: Client, peer: Peer, third: Peer, worker: Worker, is_there: bool
) -> None:
    """A server that is faster than the sender's server sends a copy with another content, so its hash is
    wrong.
    """
    mirror = share_room(alice, peer, third)
    event = mirror.message(UserId(f"@bob:{peer.name}"), "genuine")
    if not is_there:
        mirror.secret.add(event.event_id)
    spoilt = {**event.pdu, "content": {"msgtype": "m.text", "body": "changed on the way"}}
    for _ in range(2):
        third.send(spoilt)
        worker.run()
    third.send({**spoilt, "signatures": {third.name: event.pdu["signatures"][peer.name]}})
    peer.send(event)
    worker.run()
    *_, entry = room_items.read_log(mirror.room_id, mirror.version)
    assert entry.event.event_id == event.event_id
    assert entry.event.content == (event.content if is_there else {})
    assert (peer.asked.count("event"), third.asked) == (1, [])


def test_another_server_cannot_spoil_what_is_missing(
    alice: Client, peer: Peer, third: Peer, worker: Worker
) -> None:
    mirror = share_room(alice, peer, third)
    event = mirror.message(UserId(f"@bob:{peer.name}"), "genuine")
    redacted = mirror.message(UserId(f"@bob:{peer.name}"), "to be redacted").redacted()
    mirror.events[redacted.event_id] = redacted
    own = mirror.message(UserId(f"@bob:{third.name}"), "own")
    spoilt = {**event.pdu, "content": {"msgtype": "m.text", "body": "changed on the way"}}
    third.lies["get_missing_events"] = {"events": [spoilt, redacted.pdu]}
    third.send(own)
    worker.run()
    contents = [it.event.content for it in room_items.read_log(mirror.room_id, mirror.version)][-3:]
    assert contents == [event.content, {}, own.content]
    assert (peer.asked, third.asked) == (["event", "event"], ["get_missing_events"])


def test_another_server_cannot_spoil_the_state(
    alice: Client, peer: Peer, third: Peer, worker: Worker
) -> None:
    levels = {"events": {"m.room.encryption": 0}}
    mirror = share_room(alice, peer, third, power_level_content_override=levels)
    sealed = mirror.make(
        UserId(f"@bob:{peer.name}"), "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"}, ""
    )
    lost = mirror.message(UserId(f"@bob:{third.name}"), "lost")
    own = mirror.message(UserId(f"@bob:{third.name}"), "own", after=lost)
    spoilt = {**sealed.pdu, "content": {}}
    third.lies = {"get_missing_events": {"events": []}, "event": {"pdus": [spoilt]}}
    peer.lies = {"get_missing_events": {"events": []}}
    third.send(own)
    worker.run()
    kept = Room.load(mirror.room_id).event("m.room.encryption")
    assert kept is not None
    assert (kept.event_id, kept.content) == (sealed.event_id, sealed.content)


def test_nobody_is_asked_about_what_they_have_not_signed(
    alice: Client, peer: Peer, third: Peer, worker: Worker
) -> None:
    mirror = share_room(alice, peer, third)
    event = mirror.message(UserId(f"@bob:{peer.name}"), "genuine", learn=False)
    third.send({**event.pdu, "content": {}, "signatures": {peer.name: third_signature(event, third)}})
    worker.run()
    assert log_ids(mirror.room_id).count(event.event_id) == 0
    assert peer.asked == []


def third_signature(event: Event, third: Peer) -> dict[str, str]:
    """Return a signature of another server with the ID of the sender's own key."""
    (key_id,) = event.pdu["signatures"][event.sender_server]
    signed = sign_event(event.pdu, third.name, third.key, event.room_version)
    (signature,) = signed["signatures"][third.name].values()
    return {key_id: signature}
