"""Messages of the queue of pushes.

They exist for the type checker: import them under TYPE_CHECKING, because making these classes takes time.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict

from murmuration.storage.json_types import EventNote, InviteNote


class Reading(TypedDict):
    """The events of a room that a user has read: `up_to` is the last ordinal, by thread.

    `gone` is the ordinal of an event that was redacted.
    """

    room_id: str
    up_to: dict[str, int]
    gone: NotRequired[int]


class PushOrder(TypedDict, total=False):
    """A message of the queue: it has the user, and either a note or what was read."""

    user_id: str
    note: EventNote | InviteNote
    read: Reading
