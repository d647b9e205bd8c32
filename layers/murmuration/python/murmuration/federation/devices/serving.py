"""Answers other servers' requests about local users' devices and keys.

https://spec.matrix.org/v1.19/server-server-api/#device-management
https://spec.matrix.org/v1.19/server-server-api/#end-to-end-encryption
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from murmuration.federation.devices.sharing import shares_room
from murmuration.identity import rate_limits
from murmuration.identity.budgets import expect
from murmuration.keys.claim import claim_local, parse_claims
from murmuration.keys.query import QUERY_USER, parse_query, query_local
from murmuration.protocol.encoding import canonical_json
from murmuration.protocol.errors import Forbidden, InvalidParam, NotFound, TooLarge
from murmuration.protocol.identifiers import DeviceId, ServerName, UserId, parse_user_id
from murmuration.protocol.sizes import LIST_BYTES, json_bytes
from murmuration.settings import settings
from murmuration.storage.keys import device_changes

if TYPE_CHECKING:
    from murmuration.federation.shapes import ClaimedKeys, KeysAnswer, UserDevice, UserDevices
    from murmuration.protocol.encoding.shapes import Body, KeyObject

MOST = 2_000
"""About how many users, or devices, one request may ask."""
QUERIED_BYTES = LIST_BYTES - 400_000
"""The most bytes of users' keys in an answer, as they are counted while they are read."""
CLAIMED_AT_ONCE = 100
"""How many devices' keys are claimed before the size of the answer is checked."""
MOST_CLAIM_BYTES = 5_000
"""The size of a device's key in an answer, with its names."""
T = TypeVar("T")


def get_user_devices(origin: ServerName, user_id: UserId) -> UserDevices:
    """Return a local user's devices that have keys, and the stream ID of the newest change.

    Raises InvalidParam, NotFound for other servers' users, Forbidden if the origin shares no room with the
    user, LimitExceeded, TooLarge.
    """
    if parse_user_id(user_id).server_name != settings().server_name:
        raise NotFound("The user is not of this server")
    rate_limits.check("federation_keys", origin)
    if not shares_room(user_id, origin):
        raise Forbidden("Your server shares no room with the user")
    # Read before the devices: they may be newer than this stream ID, and the next update then repeats the
    # change.
    stream_id = device_changes.read_head(user_id).stream_id
    found = query_local({user_id: []}, requester_id=None)
    devices = [_device(device_id, keys) for device_id, keys in found.device_keys.get(user_id, {}).items()]
    answer: UserDevices = {"user_id": user_id, "stream_id": stream_id, "devices": devices}
    if user_id in found.master_keys:
        answer["master_key"] = found.master_keys[user_id]
    if user_id in found.self_signing_keys:
        answer["self_signing_key"] = found.self_signing_keys[user_id]
    return _bounded(answer)


def _device(device_id: DeviceId, keys: KeyObject) -> UserDevice:
    device: UserDevice = {
        "device_id": device_id,
        "keys": {name: value for name, value in keys.items() if name != "unsigned"},
    }
    name = keys["unsigned"].get("device_display_name")
    if name:
        device["device_display_name"] = name
    return device


def query_user_keys(origin: ServerName, body: Body) -> KeysAnswer:
    """Return the keys of the local users and devices that `body["device_keys"]` names; others are left out.

    Users whose keys don't fit into the answer are left out too, those with most keys first. The answer
    includes only signatures that everybody may see. Raises MissingParam, BadJson, InvalidParam,
    LimitExceeded, TooLarge.
    """
    wanted = _local(parse_query(body))
    _take(origin, len(wanted))
    expect(QUERY_USER * len(wanted))
    found = query_local(wanted, requester_id=None, most_bytes=QUERIED_BYTES)
    answer: KeysAnswer = {
        "device_keys": found.device_keys,
        "master_keys": found.master_keys,
        "self_signing_keys": found.self_signing_keys,
    }
    return _bounded(answer)


def claim_user_keys(origin: ServerName, body: Body) -> ClaimedKeys:
    """Return a one-time key, or else the fallback key, of each device of local users that `body` names.

    If an answer has no room for all of them, the last devices are left out and keep their keys. Raises
    MissingParam, BadJson, InvalidParam, LimitExceeded.
    """
    wanted = _local(parse_claims(body))
    _take(origin, sum(map(len, wanted.values())))
    devices = [(user_id, *each) for user_id, by_device in wanted.items() for each in by_device.items()]
    keys: dict[UserId, dict[DeviceId, KeyObject]] = {}
    left = LIST_BYTES
    while devices and left > CLAIMED_AT_ONCE * MOST_CLAIM_BYTES:
        some: dict[UserId, dict[DeviceId, str]] = {}
        for user_id, device_id, algorithm in devices[:CLAIMED_AT_ONCE]:
            some.setdefault(user_id, {})[device_id] = algorithm
        devices = devices[CLAIMED_AT_ONCE:]
        claimed = claim_local(some)
        left -= json_bytes(claimed)
        for user_id, of_user in claimed.items():
            keys.setdefault(user_id, {}).update(of_user)
    return {"one_time_keys": keys}


def _bounded(answer: T) -> T:
    """Return the answer if it is small enough. Raises TooLarge: other servers can't be redirected to the
    bucket.
    """
    if len(canonical_json.encode(answer, strict=False)) > LIST_BYTES:
        raise TooLarge("The answer is too large: ask about fewer users")
    return answer


def _local(wanted: Mapping[UserId, T]) -> dict[UserId, T]:
    own = settings().server_name
    return {user_id: value for user_id, value in wanted.items() if parse_user_id(user_id).server_name == own}


def _take(origin: ServerName, count: int) -> None:
    if count > MOST:
        raise InvalidParam(f"A request may be about {MOST} users or devices")
    if count:
        rate_limits.check("federation_keys", origin, count)
