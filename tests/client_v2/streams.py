"""A client of version 2 that keeps its place in a stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.in_process import Client
from tests.rooms.people import ok, path

V2 = "/_matrix/client/v2"
EVERYTHING: dict[str, Any] = {"rooms": ["*"], "users": ["*"]}


def define_stream(client: Client, **definition: Any) -> str:
    return str(ok(client.post(f"{V2}/streaming", definition))["streaming"])


def define_filter(client: Client, **definition: Any) -> str:
    return str(ok(client.post(f"{V2}/filter", definition))["filter"])


def initial_sync(client: Client, **query: Any) -> Any:
    return ok(client.get(f"{V2}/initialSync", **query))


def event_stream(client: Client, streaming: str, timeout: int = 0, **query: Any) -> Any:
    return ok(client.get(f"{V2}/eventStream", streaming=streaming, timeout=timeout, **query))


def paginate(client: Client, room_id: str, **query: Any) -> Any:
    return ok(client.get(path(room_id, "paginate", version=V2), **query))


def scrollback(client: Client, room_id: str, **query: Any) -> Any:
    return ok(client.get(path(room_id, "scrollback", version=V2), **query))


def rooms_of(answer: Any) -> dict[str, Any]:
    """Return the rooms of an initialSync by their IDs."""
    return {room["room_id"]: room for room in answer["rooms"]}


@dataclass
class Streaming:
    """Asks for what is new since the last time."""

    client: Client
    token: str = ""
    definition: dict[str, Any] = field(default_factory=lambda: dict(EVERYTHING))

    def __post_init__(self) -> None:
        self.token = self.token or define_stream(self.client, **self.definition)

    def begin(self, **query: Any) -> Any:
        answer = initial_sync(self.client, streaming=self.token, **query)
        self.token = answer["streaming"]
        return answer

    def go_on(self, **query: Any) -> Any:
        answer = event_stream(self.client, self.token, **query)
        self.token = answer["streaming"]
        return answer

    def events(self, **query: Any) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = self.go_on(**query)["events"]
        return events
