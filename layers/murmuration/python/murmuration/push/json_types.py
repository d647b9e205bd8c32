"""Messages of the queue of pushes.

They exist for the type checker: import them under TYPE_CHECKING, because making these classes takes time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NotRequired, TypedDict

from murmuration.storage.json_types import EventNote, InviteNote

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import RoomId, UserId


class Reading(TypedDict):
    """The state of a user's reading in a room: `up_to` is the ordinal of the last event read, by thread.

    `gone` is the ordinal of an event that was redacted.
    """

    room_id: RoomId
    up_to: dict[str, int]
    gone: NotRequired[int]


class PushOrder(TypedDict, total=False):
    """A message of the queue: the user, and either a note or the state of their reading."""

    user_id: UserId
    note: EventNote | InviteNote
    read: Reading
