"""Read-up-to markers of version 2 are receipts, which every API shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.in_process import Client
from tests.rooms.people import create_room, join, ok, path, refused, send

V2, V3 = "/_matrix/client/v2", "/_matrix/client/v3"
MakeClient = Callable[..., Client]


def mark(client: Client, room_id: str, marker: str, event_id: Any) -> Any:
    return client.put(path(room_id, "markers", marker, version=V2), {"event_id": event_id})


def receipts(client: Client, room_id: str) -> dict[str, Any]:
    room = ok(client.get(f"{V3}/sync"))["rooms"]["join"][room_id]
    found = [event["content"] for event in room["ephemeral"]["events"] if event["type"] == "m.receipt"]
    return found[0] if found else {}


def test_markers_are_shown_as_receipts(alice: Client, make_client: MakeClient) -> None:
    bob = make_client("bob")
    room_id = create_room(alice, preset="public_chat")
    join(bob, room_id)
    first, second = send(alice, room_id), send(alice, room_id)
    ok(mark(bob, room_id, "m.room.marker.delivered", second))
    ok(mark(bob, room_id, "m.room.marker.read", first))
    shown = receipts(alice, room_id)
    assert set(shown[second]["m.delivered"]) == {bob.user_id}
    assert set(shown[first]["m.read"]) == {bob.user_id}


def test_a_marker_counts_what_is_unread_as_a_receipt_does(alice: Client, make_client: MakeClient) -> None:
    bob = make_client("bob")
    room_id = create_room(alice, preset="public_chat")
    join(bob, room_id)
    events = [send(alice, room_id) for _ in range(3)]

    def unread() -> int:
        room = ok(bob.get(f"{V3}/sync"))["rooms"]["join"][room_id]
        return int(room["unread_notifications"]["notification_count"])

    ok(mark(bob, room_id, "m.room.marker.delivered", events[2]))
    assert unread() == 3
    ok(mark(bob, room_id, "m.room.marker.read", events[1]))
    assert unread() == 1


def test_a_marker_never_goes_back(alice: Client) -> None:
    room_id = create_room(alice)
    first, second = send(alice, room_id), send(alice, room_id)
    for event_id in (second, first, second):
        ok(mark(alice, room_id, "m.room.marker.read", event_id))
    assert list(receipts(alice, room_id)) == [second]


def test_what_can_not_be_marked(alice: Client, make_client: MakeClient) -> None:
    room_id = create_room(alice)
    event_id = send(alice, room_id)
    refused(mark(alice, room_id, "m.read", event_id), 400, "M_INVALID_PARAM")
    refused(mark(alice, room_id, "m.room.marker.read", "$nothing"), 404, "M_NOT_FOUND")
    refused(mark(alice, room_id, "m.room.marker.read", 5), 400, "M_BAD_JSON")
    refused(mark(make_client("bob"), room_id, "m.room.marker.read", event_id), 403, "M_FORBIDDEN")
    elsewhere = send(alice, create_room(alice))
    refused(mark(alice, room_id, "m.room.marker.read", elsewhere), 404, "M_NOT_FOUND")
