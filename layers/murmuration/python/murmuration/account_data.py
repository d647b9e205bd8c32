"""Account data and tags: data that a user's clients keep on the server for themselves.

https://spec.matrix.org/v1.19/client-server-api/#client-config
"""

from __future__ import annotations

from murmuration.identity.tokens import Requester
from murmuration.protocol.encoding.shapes import Answer, Content, JsonDict
from murmuration.protocol.errors import InvalidParam, NotFound, ServerManaged, TooLarge
from murmuration.protocol.event_types import FULLY_READ, PUSH_RULES, TAG
from murmuration.protocol.identifiers import RoomId, UserId, parse_room_id
from murmuration.storage.users import account_data as storage

SERVER_MANAGED = (FULLY_READ, PUSH_RULES)
MAX_TAG_BYTES = 255
MAX_TAGS = 100


def set_account_data(requester: Requester, user_id: UserId, data_type: str, content: Content) -> None:
    """Set the account's data of one type. Raises Forbidden, ServerManaged, TooLarge, InvalidParam."""
    requester.require_self(user_id)
    _require_settable(data_type)
    storage.write(user_id, "", data_type, content)


def set_account_data_per_room(
    requester: Requester, user_id: UserId, room_id: RoomId, data_type: str, content: Content
) -> None:
    """Set the account's data of one type about a room.

    Raises Forbidden, ServerManaged, TooLarge, InvalidParam.
    """
    requester.require_self(user_id)
    parse_room_id(room_id)
    _require_settable(data_type)
    storage.write(user_id, room_id, data_type, content)


def get_account_data(requester: Requester, user_id: UserId, data_type: str) -> Content:
    """Return the account's data of one type. Raises Forbidden, NotFound."""
    requester.require_self(user_id)
    if data_type == PUSH_RULES:
        from murmuration.push_rules import get_push_rules

        return get_push_rules(user_id)
    return _found(storage.read(user_id, "", data_type))


def get_account_data_per_room(
    requester: Requester, user_id: UserId, room_id: RoomId, data_type: str
) -> Content:
    """Return the account's data of one type about a room. Raises Forbidden, InvalidParam, NotFound."""
    requester.require_self(user_id)
    parse_room_id(room_id)
    return _found(storage.read(user_id, room_id, data_type))


def _require_settable(data_type: str) -> None:
    if data_type in SERVER_MANAGED:
        raise ServerManaged(f"Cannot set {data_type} through this API")


def _found(content: Content | None) -> Content:
    if content is None:
        raise NotFound("Account data not found")
    return content


# -- Tags ------------------------------------------------------------------------------------------------


def get_room_tags(requester: Requester, user_id: UserId, room_id: RoomId) -> Answer:
    """Return a user's tags of a room: `{"tags": {name: data}}`. Raises Forbidden, InvalidParam."""
    requester.require_self(user_id)
    parse_room_id(room_id)
    return {"tags": _tags(storage.read(user_id, room_id, TAG))}


def set_room_tag(requester: Requester, user_id: UserId, room_id: RoomId, tag: str, data: Content) -> None:
    """Put a tag on a room, or change its data. Raises Forbidden, InvalidParam, TooLarge."""
    requester.require_self(user_id)
    parse_room_id(room_id)
    if len(tag.encode()) > MAX_TAG_BYTES:
        raise InvalidParam(f"The name of a tag has at most {MAX_TAG_BYTES} bytes")
    data = {name: value for name, value in data.items() if (name, value) != ("order", None)}
    order = data.get("order")
    if order is not None and (isinstance(order, bool) or not isinstance(order, int | float)):
        raise InvalidParam("order must be a number")

    def with_tag(content: Content | None) -> Content:
        tags = {**_tags(content), tag: data}
        if len(tags) > MAX_TAGS:
            raise TooLarge(f"A room may have {MAX_TAGS} tags")
        return {"tags": tags}

    storage.change(user_id, room_id, TAG, with_tag)


def delete_room_tag(requester: Requester, user_id: UserId, room_id: RoomId, tag: str) -> None:
    """Remove a tag from a room. Removing a missing tag is not an error. Raises Forbidden, InvalidParam."""
    requester.require_self(user_id)
    parse_room_id(room_id)

    def without(content: Content | None) -> Content | None:
        tags = _tags(content)
        return {"tags": {name: data for name, data in tags.items() if name != tag}} if tag in tags else None

    storage.change(user_id, room_id, TAG, without)


def _tags(content: Content | None) -> JsonDict:
    tags = (content or {}).get("tags")
    return tags if isinstance(tags, dict) else {}
