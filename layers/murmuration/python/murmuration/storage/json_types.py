"""JSON objects with known keys that storage keeps or makes.

They exist for the type checker: import them under TYPE_CHECKING, because making these classes takes time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict, final

from murmuration.protocol.encoding.shapes import Content

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import EventId, RoomId, UserId


class OwnerFlags(TypedDict, total=False):
    """The properties of an owner in items of accounts and devices. A flag that isn't set is missing."""

    admin: bool
    guest: bool
    locked: bool
    suspended: bool


class AccountItem(OwnerFlags):
    """The item of an account (`storage.users.accounts`). A closed account has `deactivated_ms`, and
    `closing_hash`, the hash of its password, until all of it is deleted.
    """

    user_id: UserId
    created_ms: int
    password_hash: NotRequired[str]
    login_networks: NotRequired[list[str]]
    deactivated_ms: NotRequired[int]
    closing_hash: NotRequired[str]
    erased: NotRequired[bool]


class DeviceItem(OwnerFlags):
    """The item of a device (`storage.users.accounts`), with the hashes of its tokens."""

    user_id: UserId
    sk: str
    created_ms: NotRequired[int]
    display_name: NotRequired[str]
    last_seen_ms: NotRequired[int]
    last_seen_ip: NotRequired[str]
    access_hash: NotRequired[str]
    access_expires_ms: NotRequired[int]
    refresh_hash: NotRequired[str]
    next_access_hash: NotRequired[str]
    next_access_expires_ms: NotRequired[int]
    next_refresh_hash: NotRequired[str]
    next_nonce: NotRequired[str]


class ValidationItem(TypedDict):
    """A session that proves an address (`storage.users.threepids`). `validated_ms`: when it was proved."""

    medium: str
    address: str
    purpose: str
    secret_hash: str
    token_hash: str
    send_attempt: int
    expires: int
    validated_ms: NotRequired[int]


class LoginMailItem(TypedDict):
    """The stored facts about a mail for logging in (`storage.auth.login_mails`).

    `user_id` is empty if the address belongs to no user. A code has its `digest`, a link has `sid` and
    `client_secret`.
    """

    id: str
    kind: str
    user_id: UserId | Literal[""]
    tries: int
    expires: int
    digest: NotRequired[str]
    sid: NotRequired[str]
    client_secret: NotRequired[str]


class ReplacedState(TypedDict):
    """The part of a replaced state event that the log entry of its successor stores."""

    event_id: EventId
    sender: UserId
    content: Content


class ToDeviceEvent(TypedDict):
    """A to-device message in the form for its receiver's client."""

    sender: UserId
    type: str
    content: Content


class WaitingReceipt(TypedDict):
    """A receipt that is to be sent to other servers. `ts` is in milliseconds."""

    user_id: UserId
    event_id: EventId
    ts: int
    thread_id: NotRequired[str]


class StoredReceipt(TypedDict):
    """A receipt of another server's user that waits for its event."""

    user_id: UserId
    event_id: EventId
    thread_id: str | None
    ts: int


class JoinFailure(TypedDict, total=False):
    """The reason why a join failed: the HTTP status and the body of the error. Empty if it didn't fail."""

    status: int
    body: dict[str, Any]


class ReceiptData(TypedDict):
    """The data of one receipt in an m.receipt event. `ts` is in milliseconds."""

    ts: int
    thread_id: NotRequired[str]


class StoredTransaction(TypedDict):
    """A federation transaction that must be sent again unchanged (`federation.outbound.transactions`).

    Each of the `parts` is a list: the room ID, the ordinals, the ordinal from which to continue, and, if it
    matters, the first ordinal that was owed.
    """

    made_ms: int
    parts: list[list[Any]]


@final
class EventNote(TypedDict):
    """An event to notify pushers of: its place, its thread, and the tweaks of the user's push rules."""

    room_id: RoomId
    ordinal: int
    thread: str
    tweaks: dict[str, Any]
    prio: Literal["high", "low"]


@final
class InviteNote(TypedDict):
    """A note about an invite to a room that this server isn't in.

    `invite` is the ID of the invite's event. The other keys are those of `EventNote`.
    """

    room_id: RoomId
    invite: str
    tweaks: dict[str, Any]
    prio: Literal["high", "low"]


@final
class CountsNote(TypedDict):
    """A note that contains only the unread count."""

    counts: Literal[True]


Note = EventNote | InviteNote | CountsNote


class UnreadCounts(TypedDict):
    """Unread counts of a room or a thread, as /sync shows them."""

    notification_count: int
    highlight_count: int


class KeyCountsSection(TypedDict):
    """A device's one-time and fallback key counts, as /sync shows them."""

    device_one_time_keys_count: dict[str, int]
    device_unused_fallback_key_types: list[str]
