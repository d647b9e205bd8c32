"""JSON objects that storage keeps or makes, whose keys are known.

They exist for the type checker: import them under TYPE_CHECKING, because making these classes takes time.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

from murmuration.protocol.encoding.shapes import Content


class ReplacedState(TypedDict):
    """What a log entry keeps of the state event that its own event replaced."""

    event_id: str
    sender: str
    content: Content


class ToDeviceEvent(TypedDict):
    """A to-device message as its receiver's client gets it."""

    sender: str
    type: str
    content: Content


class WaitingReceipt(TypedDict):
    """A receipt that is to be sent to other servers. `ts` is in milliseconds."""

    user_id: str
    event_id: str
    ts: int
    thread_id: NotRequired[str]


class JoinFailure(TypedDict, total=False):
    """Why a join failed: the HTTP status and the body of the error. Empty where it didn't fail."""

    status: int
    body: dict[str, Any]


class ReceiptData(TypedDict):
    """What an m.receipt event says of one receipt. `ts` is in milliseconds."""

    ts: int
    thread_id: NotRequired[str]


class StoredTransaction(TypedDict):
    """A transaction of federation that is to be sent again as it was (`federation.outbound.transactions`).

    Each of the `parts` is a list: room ID, ordinals, the ordinal to go on from, and another one where known.
    """

    made_ms: int
    parts: list[list[Any]]


class EventNote(TypedDict):
    """An event to tell of: its place, its thread, and the tweaks that the user's rules give it."""

    room_id: str
    ordinal: int
    thread: str
    tweaks: dict[str, Any]
    prio: Literal["high", "low"]


class CountsNote(TypedDict):
    """A note that tells no more than how much is unread."""

    counts: Literal[True]


Note = EventNote | CountsNote


class UnreadCounts(TypedDict):
    """Unread counts of a room or a thread, as /sync shows them."""

    notification_count: int
    highlight_count: int


class KeyCountsSection(TypedDict):
    """What /sync says of a device's one-time keys and fallback keys."""

    device_one_time_keys_count: dict[str, int]
    device_unused_fallback_key_types: list[str]
