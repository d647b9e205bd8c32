"""Stripped state: the part of a room's state that users outside of the room see.

https://spec.matrix.org/v1.19/client-server-api/#stripped-state
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from murmuration.protocol.encoding import canonical_json
from murmuration.protocol.encoding.shapes import EventFields
from murmuration.protocol.event_types import (
    AVATAR,
    CANONICAL_ALIAS,
    CREATE,
    ENCRYPTION,
    JOIN_RULES,
    MEMBER,
    NAME,
    TOPIC,
)
from murmuration.protocol.events import Event, StateKey

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import StrippedState

STRIPPED_TYPES = (
    CREATE,
    NAME,
    AVATAR,
    TOPIC,
    JOIN_RULES,
    CANONICAL_ALIAS,
    ENCRYPTION,
)

MAX_BYTES = 16_384
"""The maximum size of an invite's stripped state: a user with many invites gets all of it in one answer."""


def strip(event: Event) -> StrippedState:
    """Return the four keys that an event has in stripped state."""
    return {
        "type": event.type,
        "state_key": event.state_key or "",
        "sender": event.sender,
        "content": event.content,
    }


def stripped_state(
    state: Callable[[Iterable[StateKey]], Mapping[StateKey, Event]], membership: Event
) -> list[StrippedState]:
    """Return the stripped state for an invite or knock: the state that describes the room, the inviter, and
    the event itself.

    Events that don't fit into `MAX_BYTES` are left out. If the invite or knock alone is larger, its content
    is reduced to the membership.
    """
    pairs = [(event_type, "") for event_type in STRIPPED_TYPES] + [(MEMBER, membership.sender)]
    found = state(pairs)
    own: StrippedState = {**strip(membership), "origin_server_ts": membership.origin_server_ts}
    if size_of(own) > MAX_BYTES:
        own["content"] = {"membership": membership.membership}
    events, size = [], size_of(own)
    for pair in pairs:
        if pair in found and pair != membership.state_pair:
            event = strip(found[pair])
            if size + size_of(event) <= MAX_BYTES:
                events.append(event)
                size += size_of(event)
    return [*events, own]


def size_of(event: EventFields) -> int:
    """Return the size of an event as JSON, in bytes."""
    return len(canonical_json.encode(dict(event), strict=False))
