"""Parts of /sync's answer.

They exist for the type checker: import them under TYPE_CHECKING, because making these classes takes time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, Required, TypedDict

from murmuration.protocol.encoding.json_types import ClientEvent, EventsSection
from murmuration.storage.json_types import ToDeviceEvent, UnreadCounts

RoomSection = Mapping[str, Any]
"""The section of one room. Each reader chooses the keys (`sync.readers.Reader`)."""


class TimelineSection(TypedDict):
    """The newest events of a room. It is `limited` if events before them are left out."""

    events: list[ClientEvent]
    limited: bool
    prev_batch: NotRequired[str]


RoomSummarySection = TypedDict(
    "RoomSummarySection",
    {"m.joined_member_count": int, "m.invited_member_count": int, "m.heroes": list[str]},
    total=False,
)
"""The counts of a room's members, and the members after whom it may be named. Empty if nothing changed."""


class UnreadSection(TypedDict):
    """A joined room's unread counts. With counts by thread, the first are those of the main timeline."""

    unread_notifications: UnreadCounts
    unread_thread_notifications: NotRequired[dict[str, UnreadCounts]]


class DeviceListsSection(TypedDict):
    """Users whose devices changed, and users whose devices the client needn't follow any more."""

    changed: list[str]
    left: list[str]


class ToDeviceSection(TypedDict):
    """To-device messages."""

    events: Sequence[ToDeviceEvent]


_PresenceInvites = TypedDict("_PresenceInvites", {"m.presence_invite": EventsSection}, total=False)


class AnswerSections(_PresenceInvites, total=False):
    """The parts of an answer that are about the user and the device. A part without updates is left out."""

    account_data: EventsSection
    to_device: ToDeviceSection
    presence: EventsSection
    device_one_time_keys_count: dict[str, int]


class SyncAnswer(AnswerSections, total=False):
    """The answer of /sync. `rooms` has the rooms' sections by membership and room ID.

    `begun` means that the answer has no updates, and that the client has a position from now on.
    """

    next_batch: Required[str]
    begun: bool
    rooms: dict[str, dict[str, RoomSection]]
    device_lists: DeviceListsSection
    device_unused_fallback_key_types: list[str]
