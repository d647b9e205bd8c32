"""Other servers can query how large a room is before their users join it."""

from __future__ import annotations

from typing import Any

import pytest

from murmuration.federation.serving.complexity import EVENTS_PER_COMPLEXITY
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.storage.rooms import room_items, snapshots
from tests.budgets.meter import Meter
from tests.federation.asking import FED, Peer, body_of
from tests.federation.finding.test_serving_hierarchy import admit, restricted
from tests.in_process import Answer, Client, segment
from tests.rooms.other_servers import Mirror
from tests.rooms.people import create_room, leave, refused, set_state


def ask(peer: Peer, room_id: str) -> Answer:
    return peer.get(f"{FED}/unstable/rooms/{segment(room_id)}/complexity")


def large_room(client: Client, events: int, **body: Any) -> str:
    """Return a room whose state has this many more events than another room's state."""
    state = [{"type": "m.x", "state_key": str(number), "content": {}} for number in range(events)]
    return create_room(client, initial_state=state, **body)


def state_events(room_id: RoomId) -> int:
    head = room_items.read_head(room_id)
    assert head is not None
    return len(room_items.read_state_of_type(room_id, head.version))


@pytest.mark.parametrize("events", [0, 20, 60])
def test_the_number_of_state_events_counts(alice: Client, peer: Peer, events: int) -> None:
    room_id = large_room(alice, events, preset="public_chat")
    told = body_of(ask(peer, room_id))
    assert told == {"v1": round(state_events(RoomId(room_id)) / EVENTS_PER_COMPLEXITY, 2)}
    assert told["v1"] >= round(events / EVENTS_PER_COMPLEXITY, 2)


def test_the_complexity_costs_one_read_however_large_the_room_is(alice: Client, peer: Peer) -> None:
    spent = []
    for events in (0, 60):
        room_id = large_room(alice, events, preset="public_chat")
        ask(peer, room_id)  # fetches the server's keys, and its addresses
        snapshots._nodes.clear()
        with Meter() as meter:
            assert ask(peer, room_id).status == 200
        spent.append(meter.spent)
    small, large = spent
    assert large.round_trips == small.round_trips <= 4, f"{small}; {large}"
    assert large.read_units <= small.read_units + 1


def test_who_may_see_or_join_a_room_is_told(alice: Client, peer: Peer) -> None:
    private = RoomId(create_room(alice, preset="private_chat"))
    refused(ask(peer, private), 404, "M_NOT_FOUND")
    mirror = Mirror(private)
    mirror.send(mirror.member(UserId(alice.user_id), peer.user(), "invite"))
    assert ask(peer, private).status == 200
    mirror.send(mirror.member(UserId(peer.user()), peer.user(), "leave"))
    refused(ask(peer, private), 404, "M_NOT_FOUND")
    set_state(alice, private, "m.room.history_visibility", {"history_visibility": "world_readable"})
    assert ask(peer, private).status == 200
    club = RoomId(create_room(alice, preset="public_chat"))
    members = restricted(alice, "members", club)
    refused(ask(peer, members), 404, "M_NOT_FOUND")
    admit(club, UserId(peer.user()))
    assert ask(peer, members).status == 200


def test_rooms_that_are_nobody_else_s(alice: Client, peer: Peer) -> None:
    gone = create_room(alice, preset="public_chat")
    leave(alice, gone)
    local = create_room(alice, preset="public_chat", creation_content={"m.federate": False})
    for room_id in (gone, local, "!unknown:example.org", "!" + "x" * 300, "no room"):
        refused(ask(peer, room_id), 404, "M_NOT_FOUND")
    denied = create_room(alice, preset="public_chat")
    set_state(alice, denied, "m.room.server_acl", {"allow": ["*"], "deny": [peer.name]})
    refused(ask(peer, denied), 403, "M_FORBIDDEN")
    refused(alice.get(f"{FED}/unstable/rooms/{segment(denied)}/complexity"), 401, "M_UNAUTHORIZED")
