"""Events as servers in the field have sent them, which broke rooms or servers elsewhere."""

from __future__ import annotations

import pytest

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
    bob = f"@bob:{peer.name}"
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
