"""A room whose state this server lost is had anew from another."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from murmuration.federation.membership.rejoining import rejoin
from murmuration.protocol.errors import BadGateway, InvalidParam, NotFound, Refusal
from murmuration.rooms.room import Room
from murmuration.storage.rooms import room_items
from tests.federation.hosting import Host, HostedRoom
from tests.federation.membership.test_joining import join, sync
from tests.federation.network import Reply
from tests.in_process import Client
from tests.rooms.other_servers import current_state, log_ids
from tests.rooms.people import create_room, ok, send, set_state

pytestmark = pytest.mark.usefixtures("jobs")


def ids(room: HostedRoom) -> dict[tuple[str, str], str]:
    return {pair: event.event_id for pair, event in room.state.items()}


def diverge(room: HostedRoom, client: Client) -> None:
    """What happens there isn't heard here, and the other way round."""
    set_state(client, room.room_id, "m.room.topic", {"topic": "ours"})
    set_state(client, room.room_id, "m.x", {"ours": True})
    room.add("m.room.topic", {"topic": "theirs"}, "")
    room.member(f"@carol:{room.remote.name}", "join")
    assert current_state(room.room_id) != ids(room)


@pytest.mark.parametrize("version", ["1", "11", "12"])
def test_the_state_is_theirs_afterwards(alice: Client, host: Host, version: str) -> None:
    room = host.room(version)
    levels = {**room.state["m.room.power_levels", ""].content, "state_default": 0}
    room.add("m.room.power_levels", levels, "")
    ok(join(alice, room.room_id, host.remote.name))
    diverge(room, alice)
    token = sync(alice)["next_batch"]
    done = rejoin(room.room_id)
    assert done.user_id == alice.user_id
    assert done.changed == 3, "the topic, what only this server had, and who came"
    assert current_state(room.room_id) == ids(room)
    assert room.newest is not None
    head = Room.load(room.room_id).head
    assert (head.extremities, head.joined) == ((room.newest.event_id,), 3)
    event_id = send(alice, room.room_id, "goes on")
    assert room_items.read_log(room.room_id, room.version)[-1].event.prev_events == (room.newest.event_id,)
    section = sync(alice, token)["rooms"]["join"][room.room_id]
    assert section["timeline"]["limited"] is True
    assert section["timeline"]["events"][-1]["event_id"] == event_id
    state = [*section["state"]["events"], *section["timeline"]["events"]]
    assert "theirs" in [it["content"].get("topic") for it in state if it["type"] == "m.room.topic"]


def test_again_and_by_a_server_that_is_named(alice: Client, host: Host) -> None:
    room = host.room("12")
    ok(join(alice, room.room_id, host.remote.name))
    host.asked.clear()
    for _ in range(2):
        assert rejoin(room.room_id, [host.remote.name]).changed == 0
    assert host.asked == ["v1/make_join", "v2/send_join"] * 2
    assert current_state(room.room_id) == ids(room)


def test_a_user_whom_the_others_banned(alice: Client, bob: Client, host: Host) -> None:
    """Another is tried; whoever isn't in the room by what the others say is not any more."""
    room = host.room("12")
    ok(join(alice, room.room_id, host.remote.name))
    ok(join(bob, room.room_id))
    first, second = sorted((alice, bob), key=lambda it: it.user_id)
    room.member(first.user_id, "ban", sender=room.creator)
    done = rejoin(room.room_id)
    assert done.user_id == second.user_id
    assert Room.load(room.room_id).membership(first.user_id) == "ban"
    assert room.room_id not in sync(first).get("rooms", {}).get("join", {})
    send(second, room.room_id, "still here")


def test_nothing_changes_where_nobody_answers(alice: Client, host: Host, fresh_name: str) -> None:
    room = host.room("12")
    ok(join(alice, room.room_id, host.remote.name))
    before = log_ids(room.room_id)
    refusal = Reply({"errcode": "M_FORBIDDEN", "error": "No"}, 403)
    host.lies["send_join"] = lambda _: refusal
    with pytest.raises(Refusal):
        rejoin(room.room_id)
    with pytest.raises(BadGateway):
        rejoin(room.room_id, [f"nowhere.{fresh_name}"])
    assert log_ids(room.room_id) == before
    assert current_state(room.room_id)["m.room.member", alice.user_id]


def test_rooms_that_cannot_be_rejoined(alice: Client, make_client: Callable[..., Client]) -> None:
    with pytest.raises(InvalidParam):
        rejoin(create_room(alice))
    with pytest.raises(NotFound):
        rejoin("!unknown:example.org")
