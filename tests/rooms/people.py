"""Common steps of the tests of rooms: create, join, leave, send, read."""

from __future__ import annotations

import itertools
from typing import Any

from tests.in_process import Answer, Client, segment

_transactions = itertools.count(1)
V3 = "/_matrix/client/v3"
V1 = "/_matrix/client/v1"


def ok(answer: Answer) -> Any:
    """Return the JSON of an answer. Raises AssertionError if it is an error."""
    assert answer.status == 200, answer.body
    return answer.json


def refused(answer: Answer, status: int, errcode: str) -> None:
    """Check that an answer is this error."""
    assert (answer.status, answer.json["errcode"]) == (status, errcode), answer.body


def path(room_id: str, *rest: str, version: str = V3) -> str:
    """Return the path of something in a room."""
    return "/".join([f"{version}/rooms/{segment(room_id)}", *(segment(part) for part in rest)])


def create_room(client: Client, **body: Any) -> str:
    return str(ok(client.post(f"{V3}/createRoom", body))["room_id"])


def invite(client: Client, room_id: str, other: Client) -> None:
    ok(client.post(path(room_id, "invite"), {"user_id": other.user_id}))


def join(client: Client, room_id: str) -> None:
    ok(client.post(path(room_id, "join")))


def leave(client: Client, room_id: str) -> None:
    ok(client.post(path(room_id, "leave")))


def send(client: Client, room_id: str, content: Any = "hello", event_type: str = "m.room.message") -> str:
    """Send a message event (a text for a string), and return its ID.

    A message whose content lacks what messages must have gets it.
    """
    body = {"msgtype": "m.text", "body": content} if isinstance(content, str) else content
    if event_type == "m.room.message":
        body = {"msgtype": "m.text", "body": "said", **body}
    number = f"t{next(_transactions)}"
    return str(ok(client.put(path(room_id, "send", event_type, number), body))["event_id"])


def relate(client: Client, room_id: str, parent: str, rel_type: str, **more: Any) -> str:
    """Send a message that relates to another, and return its ID. `more` goes into the content."""
    relation = {"rel_type": rel_type, "event_id": parent, **more.pop("relation", {})}
    event_type = more.pop("event_type", "m.room.message")
    content = {"msgtype": "m.text", "body": "related", "m.relates_to": relation, **more}
    return send(client, room_id, content, event_type)


def set_state(client: Client, room_id: str, event_type: str, content: Any, state_key: str = "") -> str:
    return str(ok(client.put(path(room_id, "state", event_type, state_key), content))["event_id"])


def redact(client: Client, room_id: str, event_id: str) -> str:
    number = f"t{next(_transactions)}"
    return str(ok(client.put(path(room_id, "redact", event_id, number), {}))["event_id"])


def messages(client: Client, room_id: str, direction: str = "b", **query: Any) -> Any:
    return ok(client.get(path(room_id, "messages"), dir=direction, **query))


def event_ids(events: list[dict[str, Any]]) -> list[str]:
    return [event["event_id"] for event in events]


def bodies(events: list[dict[str, Any]]) -> list[str]:
    """Return the bodies of the messages among events."""
    return [event["content"]["body"] for event in events if event["type"] == "m.room.message"]
