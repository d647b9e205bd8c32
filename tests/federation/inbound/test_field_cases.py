"""Events as servers in the field have sent them, which broke rooms or servers elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from murmuration.protocol.identifiers import UserId
from murmuration.rooms.room import Room
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
    """A time is a server's word, in old rooms of any size. Clients can read the room, and it goes on."""
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
    """An invite by address needs no signature of its sender's server, but the identity server's.

    If its content hash is wrong, it is redacted. In most versions what is left says nothing of an address,
    so it would be an invite by anybody that nobody signed.
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
