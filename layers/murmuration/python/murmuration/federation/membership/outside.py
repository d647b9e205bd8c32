"""Users' memberships in rooms that this server isn't in: an invite, a knock, and how these end.

Only the users' rows store them, because the rooms aren't stored here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from murmuration.aws.dynamodb import ConditionFailed
from murmuration.clock import now_ms
from murmuration.protocol.errors import Unavailable
from murmuration.protocol.events import Event
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.rooms.reading.stripped_state import MAX_BYTES, size_of, strip
from murmuration.storage.live import streams
from murmuration.storage.users import memberships
from murmuration.storage.users.memberships import Membership

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import EventFields, StrippedState

ATTEMPTS = 20


def record(user_id: UserId, room_id: RoomId, make: Callable[[Membership | None], Membership | None]) -> bool:
    """Replace a user's membership by the one that `make` returns, and tell their devices. Returns whether it
    changed.

    `make` gets the current membership. It is called again after a lost race, and returns None if nothing is
    to change. Raises Unavailable.
    """
    for attempt in range(ATTEMPTS):
        before = memberships.read_row(user_id, room_id)
        row = make(before)
        if row is None:
            return False
        try:
            streams.append(
                streams.user_stream(user_id),
                lambda: [{"sk": streams.NUDGE, streams.ROOM: room_id}],
                more=[memberships.outside_write(row, before)],
            )
        except ConditionFailed:
            streams.pause(attempt)
            continue
        return True
    raise Unavailable("Too many requests change this at once; try again")


def outside_row(
    event: Event, membership: str, state: Sequence[StrippedState], via: Sequence[str]
) -> Membership:
    """Return the membership row of an invite or knock.

    `state` is the room's stripped state, `via` are the servers that may help to leave the room.
    """
    return Membership(
        user_id=event.member_id,
        room_id=event.room_id,
        membership=membership,
        event_id=event.event_id,
        sender=event.sender,
        ordinal=None,
        since=None,
        stripped_state=[*state, _own(event)],
        room_version=event.room_version.id,
        via=list(dict.fromkeys(via)),
        changed_ms=now_ms(),
    )


def ended_row(
    before: Membership, event: EventFields, sender: UserId, membership: str = "leave"
) -> Membership:
    """Return the membership row of a user whose invite or knock has ended; `event` is in the clients'
    form.
    """
    return Membership(
        user_id=before.user_id,
        room_id=before.room_id,
        membership=membership,
        event_id=event["event_id"],
        sender=sender,
        ordinal=None,
        since=None,
        previous=before.membership,
        stripped_state=[event],
        room_version=before.room_version,
        via=before.via,
        changed_ms=now_ms(),
    )


def shown_event(event: Event) -> EventFields:
    """Return an event in the clients' form, for an event without a place in a log."""
    return {
        **_own(event),
        "event_id": event.event_id,
        "unsigned": {},
    }


def _own(event: Event) -> StrippedState:
    own: StrippedState = {**strip(event), "origin_server_ts": event.origin_server_ts}
    if size_of(own) > MAX_BYTES:
        own["content"] = {"membership": event.membership}
    return own
