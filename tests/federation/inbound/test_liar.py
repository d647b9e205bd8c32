"""A server sends and answers random lies. None of the room's events is forged."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from murmuration.protocol.identifiers import RoomId, ServerName, UserId
from murmuration.protocol.pdus.signing import key_ids_of, verify_event
from murmuration.protocol.pdus.validation import check_content_hash
from murmuration.rooms.room import Room
from murmuration.storage.rooms import room_items
from tests.conftest import SERVER_NAME
from tests.federation.peers import Peer, Worker, share_room
from tests.in_process import Client
from tests.rooms.other_servers import Mirror, key_of
from tests.rooms.people import send

MESSAGES = 5
MOST_QUESTIONS = 60
QUESTIONS = ("event", "event_auth", "get_missing_events", "state_ids", "state", "backfill")
LISTS = ("events", "pdus", "auth_chain", "pdu_ids", "auth_chain_ids")

FORGERIES = {
    "content": lambda pdu: pdu.update(content={"msgtype": "m.text", "body": "forged"}),
    "sender": lambda pdu: pdu.update(sender=f"@alice:{SERVER_NAME}"),
    "unsigned": lambda pdu: pdu.update(signatures={}),
    "signature": lambda pdu: pdu.update(
        signatures={name: {"ed25519:1": "AAAA"} for name in pdu["signatures"]}
    ),
    "hash": lambda pdu: pdu.update(hashes={"sha256": "AAAA"}),
    "room": lambda pdu: pdu.update(room_id="!elsewhere:example.org"),
    "past": lambda pdu: pdu.update(prev_events=["$nowhere"]),
    "authority": lambda pdu: pdu.update(auth_events=[]),
    "depth": lambda pdu: pdu.update(depth=2**53),
    "nothing": lambda pdu: pdu.clear(),
}
WRONG: list[Any] = [{}, [], None, {"pdus": 7, "events": {}, "auth_chain": "x", "pdu_ids": [None]}]
WHOLE = st.sampled_from(WRONG).map(lambda body: lambda _: copy.deepcopy(body))
FORGED = st.tuples(st.sampled_from(sorted(FORGERIES)), st.integers(0, 9)).map(
    lambda drawn: lambda body: forge_in(body, *drawn)
)
HALVED = st.just(lambda body: {name: it[::2] if name in LISTS else it for name, it in body.items()})
LIES = st.one_of(WHOLE, FORGED, HALVED)


def forge_in(body: dict[str, Any], how: str, which: int) -> dict[str, Any]:
    """Return an answer with one of its events forged."""
    forged = copy.deepcopy(body)
    for name in LISTS:
        pdus = [it for it in forged.get(name, []) if isinstance(it, dict)]
        if pdus:
            FORGERIES[how](pdus[which % len(pdus)])
    return forged


class Liar(Peer):
    """A lying server: it answers by what it knows of the room, changed by `ways`."""

    ways: dict[str, Any]

    def _answer(self, what: str, parts: list[str], query: dict[str, list[str]], body: Any) -> Any:
        found = super()._answer(what, parts, query, body)
        return self.ways[what](found) if found is not None and what in self.ways else found


def check_room(mirror: Mirror) -> None:
    """Check that every event is signed by its sender's server, and has the right hash or is redacted."""
    version = Room.load(RoomId(mirror.room_id)).version
    for entry in room_items.read_log(RoomId(mirror.room_id), version):
        event = entry.event
        server = event.sender.partition(":")[2]
        key = key_of(server)
        assert key.key_id in key_ids_of(event.pdu, ServerName(server))
        verify_event(event.pdu, ServerName(server), key.key_id, key.public_key, version)
        assert check_content_hash(event).pdu == event.pdu
        assert event.content.get("body") != "forged"


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    ways=st.dictionaries(st.sampled_from(QUESTIONS), LIES),
    sent=st.lists(st.tuples(st.integers(0, MESSAGES - 1), st.sampled_from(["", *FORGERIES])), max_size=6),
)
def test_a_server_that_lies_at_random(
    alice: Client, peer: Peer, worker: Worker, ways: dict[str, Any], sent: list[tuple[int, str]]
) -> None:
    """No forged event is accepted, the number of requests is bounded, and the room continues to work."""
    mirror = share_room(alice, peer)
    peer.__class__ = Liar
    peer.ways = ways  # type: ignore[attr-defined]
    peer.asked.clear()
    honest = [mirror.message(UserId(f"@bob:{peer.name}"), f"m{number}") for number in range(MESSAGES)]
    pdus = []
    for number, how in sent:
        pdu = copy.deepcopy(honest[number].pdu)
        if how:
            FORGERIES[how](pdu)
        pdus.append(pdu)
    assert peer.send(*pdus).status == 200
    worker.run()
    check_room(mirror)
    assert len(peer.asked) <= MOST_QUESTIONS, peer.asked
    asked = len(peer.asked)
    assert peer.send(*pdus).status == 200
    worker.run()
    assert len(peer.asked) <= asked + MESSAGES, "what failed isn't asked for again at once"
    peer.ways = {}  # type: ignore[attr-defined]
    send(alice, mirror.room_id, "goes on")
    check_room(mirror)
