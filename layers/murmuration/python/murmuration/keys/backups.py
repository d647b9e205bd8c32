"""Backups of room keys. https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from murmuration.aws.dynamodb import ConditionFailed
from murmuration.identity.budgets import expect_writes
from murmuration.protocol.bodies import limit_size, object_of, required
from murmuration.protocol.encoding import canonical_json
from murmuration.protocol.encoding.shapes import Answer, Body, JsonObject
from murmuration.protocol.errors import (
    BadJson,
    InvalidParam,
    MissingParam,
    NotFound,
    WrongRoomKeysVersion,
)
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.protocol.sizes import JsonText
from murmuration.storage.keys import key_backups as storage
from murmuration.storage.keys.key_backups import SessionId, Version

MAX_AUTH_DATA_BYTES = 65_536
MAX_KEY_BYTES = 65_536
MAX_ID_BYTES = 255


# -- Versions --------------------------------------------------------------------------------------------


def create_version(user_id: UserId, body: Body) -> str:
    """Begin a new backup, which becomes the current one. Returns its version.

    Raises MissingParam, BadJson, TooLarge.
    """
    algorithm, auth_data = _parse_version(body)
    return str(storage.create_version(user_id, algorithm, auth_data))


def get_current_version(user_id: UserId) -> Answer:
    """Return the latest backup. Raises NotFound."""
    version = storage.read_current(user_id)
    if version is None:
        raise NotFound("No current backup version")
    return _info(version)


def get_version(user_id: UserId, name: str) -> Answer:
    """Return a backup. Raises NotFound."""
    return _info(_existing(user_id, name))


def update_version(user_id: UserId, name: str, body: Body) -> None:
    """Change a backup's `auth_data`. Raises MissingParam, BadJson, InvalidParam, TooLarge, NotFound."""
    algorithm, auth_data = _parse_version(body)
    if body.get("version", name) != name:
        raise InvalidParam("The version in the body is not that of the path")
    version = _existing(user_id, name)
    if version.algorithm != algorithm:
        raise InvalidParam("Algorithm does not match")
    try:
        storage.update_auth_data(user_id, version.number, auth_data)
    except ConditionFailed as error:
        raise NotFound("Unknown backup version") from error


def delete_version(user_id: UserId, name: str) -> None:
    """Delete a backup with its keys. Repeating it is not an error. Raises NotFound if it never existed."""
    try:
        storage.delete_version(user_id, _number(name))
    except ConditionFailed as error:
        raise NotFound("Unknown backup version") from error


def _parse_version(body: Body) -> tuple[str, dict[str, Any]]:
    algorithm = required(body, "algorithm")
    if not isinstance(algorithm, str) or len(algorithm) > MAX_ID_BYTES:
        raise BadJson("algorithm must be a string")
    auth_data = object_of(required(body, "auth_data"), "auth_data")
    limit_size(auth_data, "auth_data", MAX_AUTH_DATA_BYTES)
    return algorithm, auth_data


def _number(name: str) -> int:
    if not (name.isascii() and name.isdecimal()) or len(name) > 8 or name != str(int(name)):
        raise NotFound("Unknown backup version")
    return int(name)


def _existing(user_id: UserId, name: str) -> Version:
    version = storage.read_version(user_id, _number(name))
    if version is None or version.deleted:
        raise NotFound("Unknown backup version")
    return version


def _info(version: Version) -> dict[str, Any]:
    return {
        "version": str(version.number),
        "algorithm": version.algorithm,
        "auth_data": version.auth_data,
        **_totals(version),
    }


def _totals(version: Version) -> dict[str, Any]:
    return {"count": version.count, "etag": str(version.etag)}


# -- Keys ------------------------------------------------------------------------------------------------


def put_keys(user_id: UserId, name: str | None, body: Body) -> Answer:
    """Store keys of several rooms if they're better than the stored ones. Returns the backup's count and
    etag.

    Raises WrongRoomKeysVersion unless it's the current backup, NotFound, MissingParam, BadJson, InvalidParam,
    TooLarge.
    """
    rooms = object_of(required(body, "rooms"), "rooms")
    keys = {
        session: key
        for room_id, room in rooms.items()
        for session, key in _parse_room(RoomId(room_id), object_of(room, "A room")).items()
    }
    return _put(user_id, name, keys)


def put_room_keys(user_id: UserId, name: str | None, room_id: RoomId, body: Body) -> Answer:
    """Store keys of one room, as `put_keys` does."""
    return _put(user_id, name, _parse_room(room_id, body))


def put_session_key(
    user_id: UserId, name: str | None, room_id: RoomId, session_id: str, body: Body
) -> Answer:
    """Store the key of one session, as `put_keys` does."""
    return _put(user_id, name, {(room_id, session_id): _parse_key(room_id, session_id, body)})


def _put(user_id: UserId, name: str | None, keys: Mapping[SessionId, Mapping[str, Any]]) -> dict[str, Any]:
    wanted = _required_version(name)
    expect_writes(len(canonical_json.encode(key, strict=False)) for key in keys.values())
    current = storage.read_current(user_id)
    if current is None:
        raise NotFound("Unknown backup version")
    if str(current.number) != wanted:
        raise WrongRoomKeysVersion("Wrong backup version", current_version=str(current.number))
    return _totals(storage.put_keys(user_id, current.number, keys, is_better))


def is_better(new: Mapping[str, Any], stored: Mapping[str, Any]) -> bool:
    """Return whether a key replaces the stored key of the same session.

    A verified key is better; then one that decrypts from an earlier message on; then one that was forwarded
    less often.
    """
    return _rank(new) < _rank(stored)


def _rank(key: Mapping[str, Any]) -> tuple[bool, int, int]:
    return not key["is_verified"], key["first_message_index"], key["forwarded_count"]


def get_keys(user_id: UserId, name: str | None) -> JsonText:
    """Return all keys of a backup, as `{"rooms": {room ID: {"sessions": {session ID: key}}}}`.

    Backups of 400,000 keys exist, so the keys are passed on as they are stored. Raises MissingParam, NotFound
    for an unknown backup.
    """
    version = _existing(user_id, _required_version(name))
    return JsonText(_all_rooms(storage.iterate_keys(user_id, version.number)))


def _all_rooms(keys: Iterable[tuple[SessionId, str]]) -> Iterator[str]:
    """Yield the JSON of keys room by room. Rooms with "#" in their IDs go last."""
    yield '{"rooms":{'
    aside: dict[str, list[tuple[SessionId, str]]] = {}

    def in_order() -> Iterator[tuple[SessionId, str]]:
        for session, key in keys:
            if "#" in session[0]:
                aside.setdefault(session[0], []).append((session, key))
            else:
                yield session, key
        for found in aside.values():
            yield from found

    last = None
    for (room_id, session_id), key in in_order():
        if room_id == last:
            yield ","
        else:
            ending = "" if last is None else "}},"
            yield f'{ending}{json.dumps(room_id, ensure_ascii=False)}:{{"sessions":{{'
            last = room_id
        yield f"{json.dumps(session_id, ensure_ascii=False)}:{key}"
    yield "}}" if last is None else "}}}}"


def get_room_keys(user_id: UserId, name: str | None, room_id: RoomId) -> JsonText:
    """Return a room's keys, as `{"sessions": {session ID: key}}`. Raises what `get_keys` does."""
    _check_ids(room_id)
    version = _existing(user_id, _required_version(name))
    return JsonText(_one_room(storage.iterate_keys(user_id, version.number, room_id)))


def _one_room(keys: Iterable[tuple[SessionId, str]]) -> Iterator[str]:
    yield '{"sessions":{'
    between = ""
    for (_, session_id), key in keys:
        yield f"{between}{json.dumps(session_id, ensure_ascii=False)}:{key}"
        between = ","
    yield "}}"


def get_session_key(user_id: UserId, name: str | None, room_id: RoomId, session_id: str) -> JsonObject:
    """Return a session's key. Raises what `get_keys` raises, and NotFound if there's no such key."""
    key = _read(user_id, name, room_id, session_id).get((room_id, session_id))
    if key is None:
        raise NotFound("Key not found")
    return key


def delete_keys(
    user_id: UserId, name: str | None, room_id: RoomId | None = None, session_id: str | None = None
) -> Answer:
    """Delete all keys of a backup, those of a room, or that of a session. Return the new count and etag.

    Raises MissingParam, InvalidParam, NotFound for an unknown backup.
    """
    _check_ids(room_id, session_id)
    version = _existing(user_id, _required_version(name))
    return _totals(storage.delete_keys(user_id, version.number, room_id, session_id))


def _read(user_id: UserId, name: str | None, room_id: RoomId, session_id: str) -> dict[SessionId, JsonObject]:
    _check_ids(room_id, session_id)
    version = _existing(user_id, _required_version(name))
    return storage.read_keys(user_id, version.number, room_id, session_id)


def _required_version(name: str | None) -> str:
    if name is None:
        raise MissingParam("version is missing")
    return name


def _check_ids(*identifiers: str | None) -> None:
    for identifier in identifiers:
        if identifier is not None and not 0 < len(identifier.encode()) <= MAX_ID_BYTES:
            raise InvalidParam(f"Room and session IDs have 1 to {MAX_ID_BYTES} bytes")


def _parse_room(room_id: RoomId, room: Mapping[str, Any]) -> dict[SessionId, dict[str, Any]]:
    sessions = object_of(required(room, "sessions"), "sessions")
    return {
        (room_id, session_id): _parse_key(room_id, session_id, key) for session_id, key in sessions.items()
    }


def _parse_key(room_id: RoomId, session_id: str, value: object) -> dict[str, Any]:
    _check_ids(room_id, session_id)
    key = object_of(value, "A key")
    for name in ("first_message_index", "forwarded_count"):
        number = required(key, name)
        if not isinstance(number, int) or isinstance(number, bool):
            raise BadJson(f"{name} must be an integer")
    if not isinstance(required(key, "is_verified"), bool):
        raise BadJson("is_verified must be true or false")
    object_of(required(key, "session_data"), "session_data")
    limit_size(key, "A key", MAX_KEY_BYTES)
    return key
