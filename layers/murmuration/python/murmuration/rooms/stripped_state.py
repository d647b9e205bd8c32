"""Stripped state: what someone outside a room is shown of it. https://spec.matrix.org/v1.19/client-server-api/#stripped-state"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from murmuration.protocol.events import Event, StateKey

STRIPPED_TYPES = (
    "m.room.create",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
)


def strip(event: Event) -> dict[str, Any]:
    """The four keys of a stripped state event."""
    return {
        "type": event.type,
        "state_key": event.state_key,
        "sender": event.sender,
        "content": event.content,
    }


def stripped_state(
    state: Callable[[Iterable[StateKey]], Mapping[StateKey, Event]], membership: Event
) -> list[dict[str, Any]]:
    """What comes with an invite or knock: the room's main facts, the inviter, the event itself."""
    pairs = [(event_type, "") for event_type in STRIPPED_TYPES] + [("m.room.member", membership.sender)]
    found = state(pairs)
    events = [found[pair] for pair in pairs if pair in found]
    stripped = [strip(event) for event in events if event.state_pair != membership.state_pair]
    return [*stripped, {**strip(membership), "origin_server_ts": membership.origin_server_ts}]
