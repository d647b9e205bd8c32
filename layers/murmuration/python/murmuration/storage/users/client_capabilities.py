"""Capabilities that clients announce: items `capabilities#<device>` of `users`, deleted with the device."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed
from murmuration.storage.users import accounts

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import DeviceId, UserId

PREFIX = accounts.CAPABILITIES

Capabilities = Mapping[str, Any]
"""The capabilities that a client announces: a JSON object that the server doesn't interpret."""


def key(user_id: UserId, device_id: DeviceId) -> dict[str, str]:
    return {"user_id": user_id, "sk": PREFIX + device_id}


def read(user_id: UserId) -> dict[str, Capabilities]:
    """Return the announced capabilities of a user's devices, by hash."""
    items = dynamodb.query(
        accounts.USERS,
        "user_id = :user AND begins_with(sk, :prefix)",
        {":user": user_id, ":prefix": PREFIX},
    )
    return {item["hash"]: json.loads(item["capabilities"]) for item in items}


def write(user_id: UserId, device_id: DeviceId, sha256: str, capabilities: Capabilities) -> bool:
    """Store a device's capabilities. Returns False if the device doesn't exist any more."""
    item = {
        **key(user_id, device_id),
        "hash": sha256,
        "capabilities": json.dumps(capabilities, separators=(",", ":"), ensure_ascii=False),
    }
    device = accounts.device_key(user_id, device_id)
    there = dynamodb.check(accounts.USERS, device, "attribute_exists(user_id)")
    try:
        dynamodb.transact([dynamodb.put(accounts.USERS, item), there])
    except ConditionFailed:
        return False
    return True
