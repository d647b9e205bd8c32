"""A client that keeps its place in the stream of /sync."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.in_process import Client
from tests.rooms.people import V3, ok


@dataclass
class Syncing:
    """`sync` asks for what is new since the last time."""

    client: Client
    since: str | None = None
    filter: dict[str, Any] | None = None

    def sync(self, **query: Any) -> Any:
        """Return what a sync answers at once. The next sync continues from there."""
        answer = self.peek(**query)
        self.since = answer["next_batch"]
        return answer

    def peek(self, **query: Any) -> Any:
        """Return the same, but let the next sync continue from the same place."""
        given = {"since": self.since, "filter": json.dumps(self.filter) if self.filter else None}
        return ok(self.client.get(f"{V3}/sync", **(given | query)))

    def room(self, room_id: str, **query: Any) -> Any:
        """Return the section of a joined room in the next sync; empty where it has none."""
        return self.sync(**query).get("rooms", {}).get("join", {}).get(room_id, {})


def timeline(section: Any) -> list[Any]:
    return list(section.get("timeline", {}).get("events", []))


def state(section: Any, name: str = "state") -> dict[tuple[str, str], Any]:
    """Return the state of a room's section by type and state key."""
    events = section.get(name, {}).get("events", [])
    return {(event["type"], event["state_key"]): event for event in events}


def types(events: list[Any]) -> list[str]:
    return [event["type"] for event in events]


def has_nothing(answer: Any) -> bool:
    """Return whether a sync brings no news."""
    told = {"next_batch", "device_one_time_keys_count", "device_unused_fallback_key_types"}
    return not set(answer) - told


def bodies_of(answer: Any, room_id: str) -> list[str]:
    """Return the bodies of the messages that a sync brings of a joined room."""
    section = answer.get("rooms", {}).get("join", {}).get(room_id, {})
    return [event["content"]["body"] for event in timeline(section) if "body" in event["content"]]
