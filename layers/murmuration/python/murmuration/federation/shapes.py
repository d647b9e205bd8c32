"""The shapes of the JSON objects that servers exchange, for mypy only: nothing is checked at run time.

These are objects that this server sends, or has checked. Before the check, another server's object is
`Untrusted`. Times are milliseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NotRequired, TypeAlias, TypedDict

from murmuration.protocol.encoding.shapes import Content, KeyObject
from murmuration.protocol.pdus.shapes import KeyDocument, Pdu, UnsignedPdu
from murmuration.protocol.presence import PresenceContent

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import DeviceId, EventId, RoomId, ServerName, UserId
    from murmuration.rooms.json_types import RoomSummary, SpaceRoom
    from murmuration.storage.json_types import StoredReceipt


# -- Transactions ------------------------------------------------------------------------------------------


class Edu(TypedDict):
    """An EDU; `edu_type` says which of the contents below it has."""

    edu_type: str
    content: Mapping[str, Any]


class TransactionBody(TypedDict):
    """PDUs and EDUs of one server: the body of `PUT /send`, and the answer of `GET /event` and
    `/backfill`.
    """

    origin: ServerName
    origin_server_ts: int
    pdus: Sequence[Pdu]
    edus: NotRequired[Sequence[Edu]]


class PduResult(TypedDict):
    """The result of one PDU in the answer to a transaction."""

    error: NotRequired[str]


class TypingContent(TypedDict):
    """The content of an `m.typing`."""

    room_id: RoomId
    user_id: UserId
    typing: bool


class ReceiptData(TypedDict, total=False):
    """When an event was read, and in which thread."""

    ts: int
    thread_id: str


class UserReceipt(TypedDict):
    """A part of the content of an `m.receipt`: the receipt of one user in a room."""

    event_ids: list[EventId]
    data: ReceiptData


class PresencePush(PresenceContent):
    """A part of the content of an `m.presence`: one user's presence."""

    user_id: UserId


class DeviceListUpdate(TypedDict):
    """The content of an `m.device_list_update`: a changed device, and the IDs of the updates before it."""

    user_id: UserId
    device_id: DeviceId
    stream_id: int
    prev_id: list[int]
    deleted: NotRequired[bool]
    keys: NotRequired[KeyObject]
    device_display_name: NotRequired[str]


class SigningKeyUpdate(TypedDict):
    """The content of an `m.signing_key_update`: the cross-signing keys that changed."""

    user_id: UserId
    master_key: NotRequired[KeyObject]
    self_signing_key: NotRequired[KeyObject]


class DirectToDevice(TypedDict):
    """The content of an `m.direct_to_device`: messages by user ID and device ID."""

    sender: UserId
    type: str
    message_id: str
    messages: Mapping[UserId, Mapping[DeviceId, Content]]


# -- Memberships -------------------------------------------------------------------------------------------


class TemplateEvent(UnsignedPdu):
    """An event for another server to complete; `origin` is the server that made the template."""

    origin: ServerName


class MembershipTemplate(TypedDict):
    """The answer to `make_join`, `make_leave` and `make_knock`."""

    room_version: str
    event: TemplateEvent


class JoinAnswer(TypedDict):
    """The answer to `send_join`: the room's state before the join, and the events that authorise it."""

    origin: ServerName
    state: list[Pdu]
    auth_chain: list[Pdu]
    event: Pdu
    members_omitted: bool
    servers_in_room: NotRequired[list[ServerName]]


class InviteRequest(TypedDict):
    """The body of `PUT /invite` in version 2 of the API."""

    room_version: str
    event: Pdu
    invite_room_state: Sequence[Pdu]


class EventAnswer(TypedDict):
    """The answer to an invite: the event with this server's signature added."""

    event: Pdu


class KnockAnswer(TypedDict):
    """The answer to `send_knock`: state events that describe the room to the user."""

    knock_room_state: list[Pdu]


# -- What is asked about rooms -----------------------------------------------------------------------------


class StateAnswer(TypedDict):
    """The answer to `GET /state`."""

    pdus: list[Pdu]
    auth_chain: list[Pdu]


class StateIdsAnswer(TypedDict):
    """The answer to `GET /state_ids`."""

    pdu_ids: list[EventId]
    auth_chain_ids: list[EventId]


class AuthChainAnswer(TypedDict):
    """The answer to `GET /event_auth`."""

    auth_chain: list[Pdu]


class ComplexityAnswer(TypedDict):
    """The answer to `GET /rooms/{roomId}/complexity`, with a number for each way to measure it."""

    v1: float


class MissingEventsAnswer(TypedDict):
    """The answer to `POST /get_missing_events`."""

    events: list[Pdu]


class SpaceChildContent(TypedDict):
    """The content of an `m.space.child` event."""

    via: list[str]
    order: NotRequired[str]
    suggested: NotRequired[bool]


class HierarchyAnswer(TypedDict):
    """The answer to `GET /hierarchy`."""

    room: SpaceRoom
    children: Sequence[RoomSummary]
    inaccessible_children: Sequence[str]


class DirectoryFilter(TypedDict, total=False):
    """The filter in a request for a page of the room directory."""

    generic_search_term: str
    room_types: list[str | None]


class DirectoryQuestion(TypedDict):
    """The body of a request for a page of a room directory."""

    limit: int
    since: NotRequired[str]
    include_all_networks: NotRequired[bool]
    third_party_instance_id: NotRequired[str]


# -- What is asked about users' keys -----------------------------------------------------------------------

Failure: TypeAlias = dict[str, str]


class UserDevice(TypedDict):
    """A device of `GET /user/devices`."""

    device_id: DeviceId
    keys: KeyObject
    device_display_name: NotRequired[str]


class UserDevices(TypedDict):
    """The answer to `GET /user/devices`."""

    user_id: UserId
    stream_id: int
    devices: list[UserDevice]
    master_key: NotRequired[KeyObject]
    self_signing_key: NotRequired[KeyObject]


class KeysAnswer(TypedDict):
    """The answer to `POST /user/keys/query`: by user ID; devices also by device ID."""

    device_keys: Mapping[UserId, Mapping[DeviceId, KeyObject]]
    master_keys: Mapping[UserId, KeyObject]
    self_signing_keys: Mapping[UserId, KeyObject]


class ClaimedKeys(TypedDict):
    """The answer to `POST /user/keys/claim`: by user ID and device ID, a key by its ID."""

    one_time_keys: Mapping[UserId, Mapping[DeviceId, KeyObject]]


class KeyDocuments(TypedDict):
    """A notary's answer: the documents that servers publish about their keys, also signed by the notary."""

    server_keys: list[KeyDocument]


class KeyCriteria(TypedDict):
    """In a question to a notary: the time until which a server's key has to be valid."""

    minimum_valid_until_ts: int


# -- The queues between this server's functions ------------------------------------------------------------


class PdusMessage(TypedDict):
    """A message of the queue of PDUs. `pdus` are as they arrived: any JSON values."""

    origin: ServerName
    room_id: RoomId
    pdus: Sequence[object]
    parked: NotRequired[bool]


class ReceiptsMessage(TypedDict):
    """A message of the queue of PDUs that has receipts."""

    origin: ServerName
    room_id: RoomId
    receipts: Sequence[StoredReceipt]
    parked: NotRequired[bool]


class ResetNotice(TypedDict):
    """The notice to the operator about a state reset."""

    room_id: RoomId
    event_id: EventId
    entries: int
