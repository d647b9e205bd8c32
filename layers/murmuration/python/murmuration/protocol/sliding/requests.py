"""A request of sliding sync, in the form of today's clients or in that of the accepted MSC4186.

Each request repeats all its lists, subscriptions and extensions; the server remembers none of them. The two
forms differ in names and places of properties. A request with any property of the newer form is read as that.
https://github.com/matrix-org/matrix-spec-proposals/blob/main/proposals/4186-simplified-sliding-sync.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from murmuration.protocol.bodies import object_of, strings_of
from murmuration.protocol.errors import BadJson, InvalidParam
from murmuration.protocol.identifiers import RoomId, UserId, is_opaque_identifier
from murmuration.protocol.presence import ONLINE, TODAYS
from murmuration.protocol.sliding import required_state
from murmuration.protocol.sliding.required_state import RequiredState

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Body, JsonObject

MOST_LISTS = 100
MOST_SUBSCRIPTIONS, MOST_MERGED_SUBSCRIPTIONS = 500, 100
"""MSC4186 has a limit of 100, but today's apps add every opened room, and can't handle an error."""
MOST_RANGES = 20
MOST_NAMES = 100
"""The maximum number of strings in a filter's or extension's list."""
MOST_NAME_BYTES = 255
MOST_TIMELINE = 100
"""The maximum number of a room's events in an answer, whatever the request asks for."""
ALL = "*"


@dataclass(frozen=True, slots=True)
class RoomConfig:
    """The parts of a room that a list or subscription asks for."""

    timeline_limit: int
    required: RequiredState


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters for the rooms of a list. A filter that is None isn't applied."""

    is_dm: bool | None = None
    is_encrypted: bool | None = None
    is_invite: bool | None = None
    room_types: tuple[str | None, ...] | None = None
    not_room_types: tuple[str | None, ...] = ()
    spaces: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None
    not_tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RoomList:
    """A list: its filters, ranges and requested parts. `ranges` are inclusive; None means all rooms that
    pass.
    """

    config: RoomConfig
    filters: Filters
    ranges: tuple[tuple[int, int], ...] | None

    def has_place(self, index: int) -> bool:
        """Return whether the list's ranges include the room at this index."""
        return self.ranges is None or any(first <= index <= last for first, last in self.ranges)


@dataclass(frozen=True, slots=True)
class RoomScope:
    """The rooms of an extension: those in these lists, and these subscriptions."""

    lists: frozenset[str]
    rooms: frozenset[str]

    def has(self, lists: frozenset[str], room_id: RoomId, *, is_subscribed: bool) -> bool:
        """Return whether the scope includes a room that appears in `lists`."""
        if is_subscribed and (ALL in self.rooms or room_id in self.rooms):
            return True
        return bool(lists) and (ALL in self.lists or bool(lists & self.lists))


@dataclass(frozen=True, slots=True)
class SlidingRequest:
    """A request. An extension that isn't enabled is None or False.

    `to_device_since` is the position in the device's messages, "" at the beginning. `is_merged` says that the
    answer is to have the form of the accepted MSC.
    """

    conn_id: str = ""
    pos: str | None = None
    timeout_ms: int = 0
    set_presence: str = ONLINE
    lists: Mapping[str, RoomList] = field(default_factory=dict)
    subscriptions: Mapping[str, RoomConfig] = field(default_factory=dict)
    to_device: bool = False
    to_device_since: str = ""
    to_device_limit: int = 100
    e2ee: bool = False
    account_data: RoomScope | None = None
    receipts: RoomScope | None = None
    typing: RoomScope | None = None
    is_merged: bool = False

    @property
    def is_of_keys(self) -> bool:
        """Whether the request only asks for to-device messages, and changes of devices and keys."""
        of_rooms = self.account_data or self.receipts or self.typing
        return not (self.lists or self.subscriptions or of_rooms)


def parse(body: Body, query: Mapping[str, str], user_id: UserId, *, is_merged: bool) -> SlidingRequest:
    """Return the request that a body and the query describe. Raises BadJson, InvalidParam."""
    lists = object_of(_given(body, "lists", {}), "lists")
    subscriptions = object_of(_given(body, "room_subscriptions", {}), "room_subscriptions")
    extensions = object_of(_given(body, "extensions", {}), "extensions")
    if len(lists) > MOST_LISTS:
        raise InvalidParam(f"A request may have {MOST_LISTS} lists")
    most = MOST_MERGED_SUBSCRIPTIONS if is_merged else MOST_SUBSCRIPTIONS
    if len(subscriptions) > most:
        raise InvalidParam(f"A request may have {most} subscriptions")
    if is_merged and not all(map(is_opaque_identifier, lists)):
        raise InvalidParam("The name of a list must be an opaque identifier")
    to_device = _extension(extensions, "to_device")
    return SlidingRequest(
        conn_id=_name(_given(body, "conn_id", ""), "conn_id"),
        pos=_text(query.get("pos") or _given(body, "pos", None), "pos"),
        timeout_ms=_timeout(query.get("timeout", _given(body, "timeout", 0))),
        set_presence=_presence(query.get("set_presence", _given(body, "set_presence", ONLINE))),
        lists={_name(name, "A list's name"): _list(value, user_id) for name, value in lists.items()},
        subscriptions={room_id: _config(value, user_id) for room_id, value in subscriptions.items()},
        to_device=to_device is not None,
        to_device_since=_text((to_device or {}).get("since"), "since") or "",
        to_device_limit=_whole((to_device or {}).get("limit", 100), "limit"),
        e2ee=_extension(extensions, "e2ee") is not None,
        account_data=_scope(extensions, "account_data"),
        receipts=_scope(extensions, "receipts"),
        typing=_scope(extensions, "typing"),
        is_merged=is_merged or _looks_merged(body, [*lists.values(), *subscriptions.values()]),
    )


def _looks_merged(body: Body, configs: Sequence[JsonObject]) -> bool:
    return (
        "pos" in body
        or "timeout" in body
        or any("range" in each or isinstance(each.get("required_state"), dict) for each in configs)
    )


def _given(values: JsonObject, name: str, default: object) -> Any:
    """Return a property; None if it is absent or null."""
    value = values.get(name)
    return default if value is None else value


def _text(value: object, name: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise BadJson(f"{name} must be a string")
    return value or None


def _name(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise BadJson(f"{what} must be a string")
    if len(value.encode()) > MOST_NAME_BYTES:
        raise InvalidParam(f"{what} may have {MOST_NAME_BYTES} bytes")
    return value


def _whole(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadJson(f"{name} must be a whole number")
    if value < 0:
        raise InvalidParam(f"{name} must be at least 0")
    return value


def _timeout(value: object) -> int:
    """Return the timeout: a number in the body, or digits in the query."""
    if isinstance(value, str):
        if not (value.isascii() and value.isdigit()):
            raise InvalidParam("timeout must be a whole number of milliseconds")
        return int(value[:12])
    return _whole(value, "timeout")


def _presence(value: object) -> str:
    if value not in TODAYS:
        raise InvalidParam(f"set_presence must be one of {', '.join(TODAYS)}")
    return str(value)


# -- Rooms -----------------------------------------------------------------------------------------------


def _config(given: object, user_id: UserId) -> RoomConfig:
    value = object_of(given, "What is asked for of a room")
    limit = _whole(_given(value, "timeline_limit", 0), "timeline_limit")
    required = required_state.parse(_given(value, "required_state", []), user_id)
    return RoomConfig(min(limit, MOST_TIMELINE), required)


def _list(given: object, user_id: UserId) -> RoomList:
    value = object_of(given, "What is asked for of a list")
    config = _config(value, user_id)
    ranges: tuple[tuple[int, int], ...] | None = None
    if (pairs := value.get("ranges")) is not None:
        if not isinstance(pairs, list):
            raise BadJson("ranges must be a list of pairs")
        if len(pairs) > MOST_RANGES:
            raise InvalidParam(f"A list may have {MOST_RANGES} ranges")
        ranges = tuple(_range(each) for each in pairs)
    elif value.get("range") is not None:
        ranges = (_range(value["range"]),)
    elif isinstance(value.get("required_state"), list) and not value.get("slow_get_all_rooms"):
        ranges = ()
    if value.get("slow_get_all_rooms") is True:
        ranges = None
    return RoomList(config, _filters(_given(value, "filters", {})), ranges)


def _range(value: object) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise BadJson("A range is a pair of whole numbers")
    first, last = (_whole(each, "A range's end") for each in value)
    if first > last:
        raise InvalidParam("A range must not end before it begins")
    return first, last


def _filters(given: object) -> Filters:
    value = object_of(given, "filters")
    return Filters(
        is_dm=_flag(value, "is_dm"),
        is_encrypted=_flag(value, "is_encrypted"),
        is_invite=_flag(value, "is_invite" if "is_invite" in value else "is_invited"),
        room_types=_types(value, "room_types"),
        not_room_types=_types(value, "not_room_types") or (),
        spaces=_strings(value, "spaces"),
        tags=_strings(value, "tags"),
        not_tags=_strings(value, "not_tags") or (),
    )


def _flag(values: JsonObject, name: str) -> bool | None:
    value = values.get(name)
    if value is not None and not isinstance(value, bool):
        raise BadJson(f"{name} must be true or false")
    return value


def _strings(values: JsonObject, name: str) -> tuple[str, ...] | None:
    if values.get(name) is None:
        return None
    found = strings_of(values[name], name)
    if len(found) > MOST_NAMES:
        raise InvalidParam(f"{name} may have {MOST_NAMES} entries")
    return tuple(found)


def _types(values: JsonObject, name: str) -> tuple[str | None, ...] | None:
    """Return types of rooms; None stands for rooms without a type."""
    if values.get(name) is None:
        return None
    given = values[name]
    if not isinstance(given, list) or not all(each is None or isinstance(each, str) for each in given):
        raise BadJson(f"{name} must be a list of strings, or null for rooms without a type")
    if len(given) > MOST_NAMES:
        raise InvalidParam(f"{name} may have {MOST_NAMES} entries")
    return tuple(given)


# -- Extensions ------------------------------------------------------------------------------------------


def _extension(extensions: JsonObject, name: str) -> JsonObject | None:
    """Return the parameters of an extension; None if it isn't enabled."""
    if extensions.get(name) is None:
        return None
    value = object_of(extensions[name], name)
    return value if _flag(value, "enabled") else None


def _scope(extensions: JsonObject, name: str) -> RoomScope | None:
    value = _extension(extensions, name)
    if value is None:
        return None
    lists, rooms = _strings(value, "lists"), _strings(value, "rooms")
    return RoomScope(
        frozenset((ALL,) if lists is None else lists), frozenset((ALL,) if rooms is None else rooms)
    )
