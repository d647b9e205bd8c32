"""A client that keeps its place in a connection of sliding sync."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.in_process import Answer, Client
from tests.rooms.people import ok
from tests.sliding_sync import shapes

PATH = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
MERGED = "/_matrix/client/v4/sync"
STATE = [
    ["m.room.name", ""],
    ["m.room.encryption", ""],
    ["m.room.member", "$LAZY"],
    ["m.room.member", "$ME"],
    ["m.room.topic", ""],
    ["m.room.avatar", ""],
    ["m.room.canonical_alias", ""],
    ["m.room.power_levels", ""],
    ["org.matrix.msc3401.call.member", "*"],
    ["m.room.join_rules", ""],
    ["m.room.tombstone", ""],
    ["m.room.create", ""],
    ["m.room.history_visibility", ""],
    ["io.element.functional_members", ""],
    ["m.space.parent", "*"],
    ["m.space.child", "*"],
    ["org.matrix.msc3672.beacon_info", "*"],
]
"""The state that Element X asks for of each room."""


def all_rooms(last: int = 19, **more: Any) -> dict[str, Any]:
    """Return the list that Element X requests."""
    return {"ranges": [[0, last]], "timeline_limit": 1, "required_state": STATE, "filters": {}} | more


def opened(limit: int = 20) -> dict[str, Any]:
    """Return Element X's request for an open room."""
    return {"timeline_limit": limit, "required_state": [*STATE, ["m.room.pinned_events", ""]]}


def notified(room_id: str) -> dict[str, Any]:
    """Return Element X's request after a push notification: the room that it is about, and all invites."""
    of_calls = ["m.room.join_rules", "m.room.create", "io.element.functional_members"]
    names = ["m.room.encryption", "m.room.canonical_alias", "m.room.name", "m.room.avatar"]
    required: list[list[str]] = [["m.room.member", "$LAZY"], ["m.room.member", "$ME"]]
    required += [[each, ""] for each in [*names, "m.room.power_levels", *of_calls]]
    required.append(["org.matrix.msc3401.call.member", "*"])
    invites = {
        "ranges": [[0, 16]],
        "timeline_limit": 8,
        "required_state": required,
        "filters": {"is_invite": True},
    }
    return {
        "conn_id": "notifications",
        "txn_id": "0123456789abcdef0123456789abcdef",
        "lists": {"invites": invites},
        "room_subscriptions": {room_id: {"timeline_limit": 16, "required_state": required}},
        "extensions": {"account_data": {"enabled": True}},
    }


ROOM_LIST = {
    "account_data": {"enabled": True},
    "typing": {"enabled": True},
    "receipts": {"enabled": True, "rooms": ["*"]},
}
"""The extensions of Element X's list of rooms."""


@dataclass
class Sliding:
    """A connection: `sync` goes on from the last answer, `peek` asks the same without going on."""

    client: Client
    conn_id: str = "room-list"
    lists: dict[str, Any] = field(default_factory=lambda: {"all": all_rooms()})
    subscriptions: dict[str, Any] = field(default_factory=dict)
    extensions: dict[str, Any] = field(default_factory=dict)
    pos: str | None = None
    path: str = PATH

    def body(self, **more: Any) -> dict[str, Any]:
        return {
            "conn_id": self.conn_id,
            "txn_id": "0123456789abcdef0123456789abcdef",
            "lists": self.lists,
            "room_subscriptions": self.subscriptions,
            "extensions": self.extensions,
        } | more

    def ask(self, body: dict[str, Any] | None = None, **query: Any) -> Answer:
        return self.client.request("POST", self.path, body or self.body(), **({"pos": self.pos} | query))

    def peek(self, body: dict[str, Any] | None = None, **query: Any) -> Any:
        answer = ok(self.ask(body, **query))
        if self.path == PATH:
            shapes.check(answer)
        return answer

    def sync(self, body: dict[str, Any] | None = None, **query: Any) -> Any:
        answer = self.peek(body, **query)
        self.pos = answer["pos"]
        return answer

    def room(self, room_id: str, **query: Any) -> Any:
        """Return a room's section in the next answer; empty where it has none."""
        return self.sync(**query)["rooms"].get(room_id, {})


def bodies(section: Any) -> list[str]:
    """Return the bodies of the messages in a room's section."""
    return [event["content"]["body"] for event in section.get("timeline", ()) if "body" in event["content"]]


def state_of(section: Any) -> dict[tuple[str, str], Any]:
    """Return the state in a room's section, by type and state key."""
    return {(event["type"], event["state_key"]): event for event in section.get("required_state", ())}
