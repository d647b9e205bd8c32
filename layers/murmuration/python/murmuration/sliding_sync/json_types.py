"""Parts of a sliding sync's answer.

They exist for the type checker: import them under TYPE_CHECKING, because making these classes takes time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NotRequired, TypedDict

from murmuration.protocol.encoding.shapes import EventFields, JsonDict
from murmuration.storage.json_types import ToDeviceEvent
from murmuration.sync.readers.json_types import DeviceListsSection

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId


class Hero(TypedDict):
    """A member whose name may be part of a room's name."""

    user_id: UserId
    displayname: NotRequired[str]
    avatar_url: NotRequired[str]


class RoomSection(TypedDict, total=False):
    """The section of one room. `bump_stamp` is in milliseconds.

    The accepted form of the proposal has `membership`, `lists`, `stripped_state` and `expanded_timeline`, and
    no unread counts; the form before it has `invite_state` and `unstable_expanded_timeline`.
    """

    initial: bool
    bump_stamp: int
    membership: str
    lists: list[str]
    name: str | None
    avatar: str | None
    heroes: list[Hero]
    joined_count: int
    invited_count: int
    is_dm: bool
    timeline: Sequence[EventFields]
    limited: bool
    num_live: int
    prev_batch: str
    expanded_timeline: bool
    unstable_expanded_timeline: bool
    required_state: Sequence[EventFields]
    stripped_state: Sequence[EventFields]
    invite_state: Sequence[EventFields]
    notification_count: int
    highlight_count: int


class ListCount(TypedDict):
    """How many rooms a list has."""

    count: int


class MessagesSection(TypedDict):
    """To-device messages, and the position from which to continue."""

    next_batch: str
    events: list[ToDeviceEvent]


class KeysSection(TypedDict):
    """The part of an answer about encryption keys."""

    device_one_time_keys_count: dict[str, int]
    device_unused_fallback_key_types: list[str]
    device_lists: NotRequired[DeviceListsSection]


class SlidingSyncAnswer(TypedDict):
    """The answer of a sliding sync: `lists` by name, `rooms` by ID, `extensions` by name."""

    pos: str
    lists: dict[str, ListCount]
    rooms: dict[str, RoomSection]
    extensions: JsonDict
