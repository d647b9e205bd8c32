"""Erasure: users who join a room later get redacted copies of an erased user's events.

Users who were in the room when an event was sent, or who joined before its sender was erased, still see it
unredacted. State that the room needs is never redacted: without it clients would send unencrypted messages,
or not find the room's replacement.
https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from murmuration.aws import concurrency
from murmuration.protocol.encoding.shapes import EventFields
from murmuration.protocol.event_types import (
    CANONICAL_ALIAS,
    CREATE,
    ENCRYPTION,
    GUEST_ACCESS,
    HISTORY_VISIBILITY,
    JOIN_RULES,
    PINNED_EVENTS,
    POWER_LEVELS,
    SERVER_ACL,
    SPACE_CHILD,
    THIRD_PARTY_INVITE,
    TOMBSTONE,
)
from murmuration.protocol.events import Event, StateKey
from murmuration.protocol.pdus.redaction import redact
from murmuration.protocol.room_versions import RoomVersion
from murmuration.rooms.room import Room
from murmuration.storage.rooms import erasures
from murmuration.storage.rooms.relations import REPLACE
from murmuration.storage.rooms.room_items import LogEntry
from murmuration.storage.users import memberships

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId, UserId

WHOLE = frozenset(
    {
        CREATE,
        JOIN_RULES,
        POWER_LEVELS,
        HISTORY_VISIBILITY,
        ENCRYPTION,
        SERVER_ACL,
        TOMBSTONE,
        GUEST_ACCESS,
        CANONICAL_ALIAS,
        PINNED_EVENTS,
        THIRD_PARTY_INVITE,
        SPACE_CHILD,
        "m.space.parent",
    }
)
"""The types of state that are never redacted."""


def erase_in_rooms(user_id: UserId) -> None:
    """Record in all rooms that the user ever was in that the user is erased. Safe to repeat."""
    rows = memberships.read_memberships(user_id, forgotten=True)
    concurrency.parallel(*(functools.partial(erasures.record, row.room_id, user_id) for row in rows))


def hidden_senders(
    room_id: RoomId, number: int, *, since: int | None, joined_until: int | None
) -> frozenset[UserId]:
    """Return the erased users whose events are redacted for a viewer.

    The viewer has been in the room since the ordinal `since`. If they aren't in it now, `joined_until` is the
    ordinal at which they last were, None if they never were. `number` is how many erased users the room's
    head counts; if it is 0, nothing is read.
    """
    if not number:
        return frozenset()
    place = since if since is not None else joined_until
    return frozenset(
        user_id
        for user_id, ordinal in erasures.read(room_id, number).items()
        if place is None or place > ordinal
    )


def shown_outside(room: Room, pairs: Iterable[StateKey]) -> dict[StateKey, Event]:
    """Return current state events as users outside of the room see them: with erased users' events redacted.

    Reads the events unless they are cached, and the erased users if the room has any.
    """
    hidden = hidden_senders(room.room_id, room.head.erasures, since=None, joined_until=None)
    return {pair: event_copy(event, hidden) for pair, event in room.events(pairs).items()}


def entry_copy(entry: LogEntry, hidden: frozenset[str]) -> LogEntry:
    """Return the entry with everything redacted that these users wrote."""
    if entry.redacted_because is not None and entry.redacted_because.get("sender") in hidden:
        because = redact(dict(entry.redacted_because), entry.event.room_version)
        entry = replace(entry, redacted_because=because)
    if entry.replaced is not None and entry.replaced["sender"] in hidden and entry.event.type not in WHOLE:
        before = {"type": entry.event.type, "content": entry.replaced["content"]}
        content = redact(before, entry.event.room_version)["content"]
        entry = replace(entry, replaced={**entry.replaced, "content": content})
    event = event_copy(entry.event, hidden)
    if event is entry.event:
        return entry
    return replace(entry, event=event, groups=entry.groups - {REPLACE})


def event_copy(event: Event, hidden: frozenset[str]) -> Event:
    """Return the event, redacted if one of these users sent it."""
    return event.redacted() if _is_hidden(event.sender, event.type, event.is_state, hidden) else event


def stripped_copy(
    events: Iterable[EventFields], hidden: frozenset[str], version: RoomVersion
) -> list[EventFields]:
    """Return stripped state in which events of these users are redacted."""
    return [
        {**event, "content": redact(dict(event), version)["content"]}
        if _is_hidden(event.get("sender"), event.get("type"), True, hidden)
        else dict(event)
        for event in events
    ]


def _is_hidden(sender: object, event_type: object, is_state: bool, hidden: frozenset[str]) -> bool:
    return sender in hidden and not (is_state and event_type in WHOLE)
