"""Checks other servers' answers about their users' keys, and cuts them to what this server keeps.

A single key or device that is wrong is left out, and the rest is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard

from murmuration.protocol.bodies import check_signatures
from murmuration.protocol.encoding import canonical_json
from murmuration.protocol.errors import BadJson
from murmuration.protocol.identifiers import DeviceId, UserId, is_valid_device_id
from murmuration.storage.keys.remote_devices import RemoteDevices

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import JsonObject, KeyObject, Untrusted

MOST_DEVICES = 500
"""How many devices of one user are kept. Other servers allow a few hundred."""
MOST_DEVICE_BYTES = 8_192
MOST_LIST_BYTES = 360_000
"""The most bytes of the keys of one user's devices: 500 devices of an ordinary size."""
MOST_KEY_BYTES = 16_384
MOST_NAME = 256


def from_device_list(user_id: UserId, answer: Untrusted) -> tuple[RemoteDevices, int | None]:
    """Return a user's devices and the stream ID from an answer to `GET /user/devices`."""
    devices: dict[DeviceId, KeyObject] = {}
    names: dict[DeviceId, str] = {}
    listed = answer.get("devices")
    for entry in listed[:MOST_DEVICES] if isinstance(listed, list) else ():
        if not isinstance(entry, dict):
            continue
        device_id: Any = entry.get("device_id")
        keys = device_keys(user_id, device_id, entry.get("keys"))
        if keys is not None and isinstance(device_id, str):
            devices[DeviceId(device_id)] = keys
            if name := display_name(entry.get("device_display_name")):
                names[DeviceId(device_id)] = name
    stream_id = answer.get("stream_id")
    return (
        RemoteDevices(
            with_few_bytes(devices),
            names,
            signing_key(user_id, answer.get("master_key"), "master"),
            signing_key(user_id, answer.get("self_signing_key"), "self_signing"),
        ),
        stream_id if is_stream_id(stream_id) else None,
    )


def from_query(user_id: UserId, answer: Untrusted) -> RemoteDevices:
    """Return a user's devices from an answer to `POST /user/keys/query`; none if it doesn't name the user."""
    devices: dict[DeviceId, KeyObject] = {}
    names: dict[DeviceId, str] = {}
    for device_id, value in list(_of(user_id, answer, "device_keys").items())[:MOST_DEVICES]:
        keys = device_keys(user_id, device_id, value)
        if keys is not None:
            devices[DeviceId(device_id)] = keys
            unsigned = value.get("unsigned")
            name = unsigned.get("device_display_name") if isinstance(unsigned, dict) else None
            if shown := display_name(name):
                names[DeviceId(device_id)] = shown
    return RemoteDevices(
        with_few_bytes(devices),
        names,
        signing_key(user_id, _of(user_id, answer, "master_keys"), "master"),
        signing_key(user_id, _of(user_id, answer, "self_signing_keys"), "self_signing"),
    )


def _of(user_id: UserId, answer: Untrusted, name: str) -> JsonObject:
    by_user = answer.get(name)
    value = by_user.get(user_id) if isinstance(by_user, dict) else None
    return value if isinstance(value, dict) else {}


def with_few_bytes(devices: dict[DeviceId, KeyObject]) -> dict[DeviceId, KeyObject]:
    """Return the first devices whose keys have up to `MOST_LIST_BYTES` together."""
    if len(devices) * MOST_DEVICE_BYTES <= MOST_LIST_BYTES:
        return devices
    kept: dict[DeviceId, KeyObject] = {}
    left = MOST_LIST_BYTES
    for device_id, keys in devices.items():
        left -= len(canonical_json.encode(keys, strict=False))
        if left < 0:
            break
        kept[device_id] = keys
    return kept


def device_keys(user_id: UserId, device_id: object, value: object) -> KeyObject | None:
    """Return a device's keys without `unsigned`; None if they aren't that device's, or too large."""
    if not isinstance(value, dict) or not isinstance(device_id, str) or not is_valid_device_id(device_id):
        return None
    if (value.get("user_id"), value.get("device_id")) != (user_id, device_id):
        return None
    algorithms = value.get("algorithms")
    if not isinstance(algorithms, list) or not all(isinstance(each, str) for each in algorithms):
        return None
    if not _has_keys(value):
        return None
    keys = {"signatures": {}, **{name: each for name, each in value.items() if name != "unsigned"}}
    return keys if fits(keys, MOST_DEVICE_BYTES) else None


def signing_key(user_id: UserId, value: object, usage: str) -> KeyObject | None:
    """Return a cross-signing key; None if it isn't this user's, isn't for this usage, or is too large."""
    if not isinstance(value, dict) or value.get("user_id") != user_id:
        return None
    usages = value.get("usage")
    if not isinstance(usages, list) or not all(isinstance(each, str) for each in usages):
        return None
    if usage not in usages or not _has_keys(value) or len(value["keys"]) != 1:
        return None
    return value if fits(value, MOST_KEY_BYTES) else None


def _has_keys(value: JsonObject) -> bool:
    """Return whether the keys and signatures are strings, as clients want them to be."""
    keys = value.get("keys")
    if not isinstance(keys, dict) or not all(isinstance(key, str) for key in keys.values()):
        return False
    return _has_signatures(value)


def _has_signatures(value: JsonObject) -> bool:
    try:
        check_signatures(value.get("signatures", {}))
    except BadJson:
        return False
    return True


def is_one_time_key(value: object) -> bool:
    """Return whether a one-time key has the form that clients want."""
    if isinstance(value, dict):
        return isinstance(value.get("key"), str) and _has_signatures(value)
    return isinstance(value, str)


def display_name(value: object) -> str | None:
    """Return a device's name, cut to the maximum length; None if it isn't text or is far too long."""
    return value[:MOST_NAME] if isinstance(value, str) and fits(value, 16 * MOST_NAME) else None


def is_stream_id(value: object) -> TypeGuard[int]:
    """Return whether a value can be the stream ID of an update."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def fits(value: object, most_bytes: int) -> bool:
    """Return whether the value's JSON has at most `most_bytes` bytes."""
    try:
        return len(canonical_json.encode_parsable(value)) <= most_bytes
    except BadJson:
        return False
