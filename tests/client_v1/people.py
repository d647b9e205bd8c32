"""Common steps of the tests of client API v1."""

from __future__ import annotations

from typing import Any

from tests.in_process import Client, segment
from tests.rooms.people import ok

V1 = "/_matrix/client/api/v1"


def room(room_id: str, *rest: str) -> str:
    """Return the path of something in a room."""
    return "/".join([f"{V1}/rooms/{segment(room_id)}", *(segment(part) for part in rest)])


def create(client: Client, **body: Any) -> str:
    return str(ok(client.post(f"{V1}/createRoom", body))["room_id"])


def post(client: Client, room_id: str, text: str) -> str:
    """Send a text without a transaction ID, and return its event ID."""
    body = {"msgtype": "m.text", "body": text}
    return str(ok(client.post(room(room_id, "send", "m.room.message"), body))["event_id"])


def texts(events: list[Any]) -> list[str]:
    return [event["content"]["body"] for event in events if event["type"] == "m.room.message"]


def memberships(events: list[Any]) -> dict[str, str]:
    return {
        event["state_key"]: event["content"]["membership"]
        for event in events
        if event["type"] == "m.room.member"
    }
