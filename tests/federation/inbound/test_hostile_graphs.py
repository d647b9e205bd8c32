"""Events with wrong references: to rejected events, other rooms, each other, or none."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import EventId, RoomId, ServerName, UserId
from murmuration.protocol.pdus.building import hash_and_sign
from murmuration.protocol.pdus.event_format import max_depth, parse_pdu
from murmuration.rooms.room import Room
from murmuration.storage.rooms import event_store, room_items
from tests.federation.inbound.test_gaps import said
from tests.federation.network import Reply
from tests.federation.peers import Peer, Worker, share_room
from tests.in_process import Client
from tests.rooms.other_servers import Mirror, current_state, log_ids
from tests.rooms.people import create_room, send

QUESTIONS = ("get_missing_events", "event_auth", "state_ids", "state", "event")
MOST_QUESTIONS = 12
"""For one transaction; the made-up server knows nothing."""


def kind(mirror: Mirror, event: Event) -> str | None:
    """Return the status of an event; None if it isn't known."""
    found = event_store.read([event.event_id], mirror.version, RoomId(mirror.room_id)).get(event.event_id)
    return found.kind if found is not None else None


def changed(peer: Peer, event: Event, **changes: Any) -> Event:
    """Return the event with other fields, hashed and signed again, even if the format doesn't allow them."""
    fields: Any = {name: value for name, value in event.pdu.items() if name not in ("signatures", "hashes")}
    pdu = hash_and_sign(fields | changes, ServerName(peer.name), peer.key, event.room_version)
    return Event(pdu, event.room_version)


@pytest.mark.parametrize("version", ["6", "11", "12"])
def test_authorised_by_what_was_rejected(alice: Client, peer: Peer, worker: Worker, version: str) -> None:
    mirror = share_room(alice, peer, version=version)
    bob = UserId(f"@bob:{peer.name}")
    levels = mirror.state(bob, "m.room.power_levels", {"users": {bob: 100}}, learn=False)
    good = mirror.message(bob, "good")
    bad = mirror.make(bob, "m.room.topic", {"topic": "mine"}, "", auth=[levels.event_id], learn=False)
    more = [*good.auth_events, levels.event_id]
    worse = mirror.make(bob, "m.room.message", {"body": "x"}, auth=more, learn=False)
    peer.send(levels, good, bad, worse)
    worker.run()
    assert kind(mirror, levels) == "rejected"
    assert {kind(mirror, bad), kind(mirror, worse)} <= {"rejected", None}
    assert said(alice, mirror) == ["good"]
    assert current_state(mirror.room_id) == mirror.resolve(mirror.newest())


@pytest.mark.parametrize("version", ["1", "11", "12"])
def test_references_to_another_room(alice: Client, peer: Peer, worker: Worker, version: str) -> None:
    """Auth events and previous events count only if they are in the same room."""
    other = share_room(alice, peer, version=version)
    bob = UserId(f"@bob:{peer.name}")
    elsewhere = other.message(bob, "elsewhere")
    peer.send(elsewhere)
    worker.run()
    mirror = share_room(alice, peer, version=version)
    power = room_items.read_state_of_type(RoomId(other.room_id), other.version, "m.room.power_levels")[
        0
    ].event
    mine = {"auth_events": _references(mirror, [power.event_id])}
    stolen = changed(peer, mirror.message(bob, "x", learn=False), **mine)
    before = {"prev_events": _references(mirror, [elsewhere.event_id])}
    transplanted = changed(peer, mirror.message(bob, "y", learn=False), **before)
    fine = mirror.message(bob, "fine")
    peer.lies = dict.fromkeys(QUESTIONS, Reply({}))
    peer.asked.clear()
    peer.send(stolen, transplanted, fine)
    worker.run()
    assert said(alice, mirror) == ["fine"]
    assert said(alice, other) == ["elsewhere"]
    assert len(peer.asked) <= MOST_QUESTIONS, peer.asked


def _references(mirror: Mirror, ids: list[str]) -> list[Any]:
    return [[it, {"sha256": "x"}] for it in ids] if mirror.version.server_assigned_event_ids else list(ids)


WRONG: dict[str, dict[str, Any]] = {
    "auth events twice": {"auth_events": lambda ids: [*ids, *ids]},
    "no auth events": {"auth_events": lambda _: []},
    "auth events that nobody has": {"auth_events": lambda _: ["$" + "x" * 43]},
    "nothing before it": {"prev_events": lambda _: []},
    "too much before it": {"prev_events": lambda _: ["$" + f"{number:043}" for number in range(21)]},
    "too many auth events": {"auth_events": lambda _: ["$" + f"{number:043}" for number in range(11)]},
}


@pytest.mark.parametrize("what", WRONG)
def test_references_that_are_none(alice: Client, peer: Peer, worker: Worker, what: str) -> None:
    mirror = share_room(alice, peer)
    draft = mirror.message(UserId(f"@bob:{peer.name}"), "x", learn=False)
    given: Any = draft.pdu
    changes = {name: change(given[name]) for name, change in WRONG[what].items()}
    peer.lies = dict.fromkeys(QUESTIONS, Reply({}))
    peer.asked.clear()
    peer.send(changed(peer, draft, **changes), mirror.message(UserId(f"@bob:{peer.name}"), "fine"))
    worker.run()
    assert said(alice, mirror) == ["fine"]
    assert len(peer.asked) <= MOST_QUESTIONS, peer.asked


@pytest.mark.parametrize("fields", [("prev_events",), ("auth_events",), ("prev_events", "auth_events")])
def test_events_that_cite_each_other_or_themselves(
    alice: Client, peer: Peer, worker: Worker, fields: tuple[str, ...]
) -> None:
    """In versions 1 and 2 servers choose the IDs, so there can be cycles."""
    mirror = share_room(alice, peer, version="1")
    bob = UserId(f"@bob:{peer.name}")
    ids = [f"${name}{mirror.room_id[1:9]}:{peer.name}" for name in ("a", "b", "self")]
    cited = dict(zip(ids, [ids[1], ids[0], ids[2]], strict=True))
    draft = mirror.message(bob, "x", learn=False)
    cycle = [
        changed(peer, draft, event_id=it, **{name: _references(mirror, [cited[it]]) for name in fields})
        for it in ids
    ]
    pdus = [event.pdu for event in cycle]
    peer.lies = {
        "get_missing_events": {"events": pdus}, "event_auth": {"auth_chain": pdus}, "state": {},
        "state_ids": {"pdu_ids": ids, "auth_chain_ids": ids}, "event": lambda: {"pdus": [pdus[0]]},
    }  # fmt: skip
    peer.asked.clear()
    peer.send(*cycle, mirror.message(bob, "fine"))
    worker.run()
    assert said(alice, mirror) == ["fine"]
    assert len(peer.asked) <= 4 * MOST_QUESTIONS, peer.asked


@pytest.mark.parametrize("version", ["1", "5", "6", "12"])
def test_the_greatest_depth(alice: Client, peer: Peer, worker: Worker, version: str) -> None:
    """The event is accepted. Events after it keep the same depth, so that other servers accept them too."""
    mirror = share_room(alice, peer, version=version)
    draft = mirror.message(UserId(f"@bob:{peer.name}"), "deep", learn=False)
    deepest = max_depth(mirror.version)
    peer.send(changed(peer, draft, depth=deepest))
    if not mirror.version.strict_canonical_json:
        more = {"event_id": f"$deep:{peer.name}"} if mirror.version.server_assigned_event_ids else {}
        peer.send(changed(peer, draft, depth=deepest + 1, **more))
    worker.run()
    assert said(alice, mirror) == ["deep"]
    event_id = EventId(send(alice, mirror.room_id, "deeper"))
    ours = event_store.read([event_id], mirror.version, RoomId(mirror.room_id))[event_id].event
    assert ours.depth == deepest
    assert parse_pdu(ours.pdu, mirror.version).event_id == event_id


def test_each_order_comes_to_the_same(alice: Client, peer: Peer, worker: Worker) -> None:
    """Four events of a fork come in every order, each in its own transaction and twice."""
    bob = UserId(f"@bob:{peer.name}")
    for order in itertools.permutations(range(4)):
        mirror = share_room(alice, peer)
        first = mirror.message(bob, "0")
        left = mirror.message(bob, "1", after=first)
        right = mirror.message(bob, "2", after=first)
        events = [first, left, right, mirror.message(bob, "3", after=[left, right])]
        for number in [*order, *order]:
            peer.send(events[number])
            worker.run()
        assert sorted(said(alice, mirror)) == ["0", "1", "2", "3"], order
        assert Room.load(RoomId(mirror.room_id)).head.extremities == (events[3].event_id,)
        ids = log_ids(mirror.room_id)
        assert len(ids) == len(set(ids))
        assert current_state(mirror.room_id) == mirror.resolve(mirror.newest())


def test_of_several_forms_of_an_event_the_valid_one_counts(alice: Client, peer: Peer, worker: Worker) -> None:
    """One transaction has an event in three forms: unsigned, forged, and valid."""
    mirror = share_room(alice, peer)
    event = mirror.message(UserId(f"@bob:{peer.name}"), "true")
    unsigned = {**event.pdu, "signatures": {}}
    forged = {**event.pdu, "content": {"msgtype": "m.text", "body": "forged"}}
    for pdus in itertools.permutations([unsigned, forged, event.pdu]):
        peer.send(*pdus)
    worker.run()
    assert said(alice, mirror) == ["true"]


def test_a_state_key_of_any_characters(alice: Client, peer: Peer, worker: Worker) -> None:
    mirror = share_room(alice, peer, power_level_content_override={"events": {"x": 0}})
    bob = UserId(f"@bob:{peer.name}")
    keys = ["\x00", "a\x00b", " ", "#", "é" * 127, "\u202e", "x" * 255, "state#m.room.name"]
    states = [mirror.state(bob, "x", {"key": key}, key) for key in keys]
    peer.send(*states)
    worker.run()
    state = current_state(mirror.room_id)
    assert {pair[1] for pair in state if pair[0] == "x"} == set(keys)
    other = RoomId(create_room(alice))
    assert current_state(other)
