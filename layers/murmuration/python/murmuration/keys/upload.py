"""Uploads of a device's keys. https://spec.matrix.org/v1.19/client-server-api/#uploading-keys"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from murmuration.aws.dynamodb import ConditionFailed
from murmuration.identity.budgets import expect_writes
from murmuration.identity.tokens import Requester
from murmuration.protocol.bodies import check_signatures, limit_size, object_of, required, strings_of
from murmuration.protocol.encoding.shapes import Body
from murmuration.protocol.errors import BadJson, InvalidParam, UnknownToken
from murmuration.protocol.identifiers import parse_key_id
from murmuration.storage.keys import identity_keys, one_time_keys
from murmuration.storage.keys.device_lists import record_change
from murmuration.storage.keys.one_time_keys import KeyId

MAX_DEVICE_KEYS_BYTES = 4_096
"""The maximum size of a key in bytes. Real clients' keys have less than 1,000: two algorithms, two keys, a
few signatures."""
MAX_ONE_TIME_KEY_BYTES = 4_096
MAX_KEY_ID_BYTES = 255
ALWAYS_COUNTED = "signed_curve25519"
"""The algorithm that is always counted: some clients take a missing count for "unchanged" rather than
for zero."""


def upload_keys(requester: Requester, body: Body) -> dict[str, int]:
    """Store the device, one-time and fallback keys in `body`. Returns the device's count of one-time keys.

    Raises BadJson, MissingParam, InvalidParam, TooLarge; UnknownToken if the device was logged out.
    """
    device_keys = body.get("device_keys")
    one_time = _parse_keys(body, "one_time_keys")
    fallback = _parse_keys(body, "fallback_keys")
    if len({algorithm for algorithm, _ in fallback}) < len(fallback):
        raise InvalidParam("fallback_keys may hold one key for each algorithm")
    if device_keys is not None:
        _check_device_keys(requester, device_keys)
        upload_device_keys(requester, {"signatures": {}, **device_keys})
    if one_time or fallback:
        expect_writes([MAX_ONE_TIME_KEY_BYTES // 8] * (len(one_time) + len(fallback)))
        try:
            counts = one_time_keys.upload(requester.user_id, requester.device_id, one_time, fallback)
        except one_time_keys.DeviceGone as error:
            raise UnknownToken("The device was logged out") from error
    else:
        counts = one_time_keys.read_counts(requester.user_id, requester.device_id)
    return with_zero(counts.one_time)


def upload_device_keys(requester: Requester, device_keys: dict[str, Any]) -> None:
    """Store the device's identity keys, and tell users who share a room if that changes anything."""
    user_id, device_id = requester.user_id, requester.device_id
    try:
        changed = identity_keys.write_device(user_id, device_id, device_keys)
    except ConditionFailed as error:
        raise UnknownToken("The device was logged out") from error
    if changed:
        record_change(user_id, devices=[device_id])
        with suppress(ConditionFailed):  # a later upload replaced it, and tells them itself
            identity_keys.mark_device_announced(user_id, device_id, device_keys)


def with_zero(counts: Mapping[str, int]) -> dict[str, int]:
    """Return counts in the form for clients."""
    return {ALWAYS_COUNTED: 0, **counts}


def _check_device_keys(requester: Requester, value: object) -> None:
    device_keys = object_of(value, "device_keys")
    limit_size(device_keys, "device_keys", MAX_DEVICE_KEYS_BYTES)
    if (required(device_keys, "user_id"), required(device_keys, "device_id")) != (
        requester.user_id,
        requester.device_id,
    ):
        raise InvalidParam("user_id and device_id of device_keys must be those of the access token")
    strings_of(required(device_keys, "algorithms"), "algorithms")
    keys = object_of(required(device_keys, "keys"), "keys")
    if not all(isinstance(key, str) for key in keys.values()):
        raise BadJson("Each of the keys must be a string")
    check_signatures(device_keys.get("signatures", {}))


def _parse_keys(body: Body, name: str) -> dict[KeyId, Any]:
    """Return one-time or fallback keys by algorithm and ID. Raises BadJson, InvalidParam, TooLarge."""
    given, keys = body.get(name), {}
    for full_id, value in object_of({} if given is None else given, name).items():
        algorithm, key_id = parse_key_id(full_id)
        if len(full_id.encode()) > MAX_KEY_ID_BYTES:
            raise InvalidParam(f"The ID of a key has at most {MAX_KEY_ID_BYTES} bytes")
        key = value.get("key") if isinstance(value, dict) else value
        if not isinstance(key, str):
            raise BadJson("A key must be a string, or an object with a string 'key'")
        if isinstance(value, dict):
            check_signatures(value.get("signatures", {}))
            if not isinstance(value.get("fallback"), bool | None):
                raise BadJson("fallback must be true or false")
        limit_size(value, "A key", MAX_ONE_TIME_KEY_BYTES)
        keys[algorithm, key_id] = {"signatures": {}, **value} if isinstance(value, dict) else value
    return keys
