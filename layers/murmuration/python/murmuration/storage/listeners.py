"""Listeners: one item a user, with the time until which each of their devices may be waiting for news.

A device's attribute is `d#<device ID>`, in seconds since the epoch; the item itself expires with the last.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from murmuration.clock import now_ms
from murmuration.storage import dynamodb

TABLE = "listeners"
LIFETIME_S = 600
RENEW_S = 60
"""A registration with less than this left is renewed before a wait."""
_PREFIX = "d#"


def registered_until(item: Mapping[str, Any] | None, device_id: str) -> int:
    """When the device's registration ends, in seconds since the epoch; 0 for none."""
    return int(item.get(_PREFIX + device_id, 0)) if item else 0


def register(user_id: str, device_id: str) -> None:
    """Have the device rung for what comes from now on."""
    until = now_ms() // 1000 + LIFETIME_S
    dynamodb.execute(
        dynamodb.update(
            TABLE,
            {"user_id": user_id},
            "SET #device = :until, expires = :until",
            names={"#device": _PREFIX + device_id},
            values={":until": until},
        )
    )


def listening_devices(item: Mapping[str, Any]) -> Iterable[str]:
    """The devices in a user's item that may be waiting now."""
    now = now_ms() // 1000
    for name, until in item.items():
        if name.startswith(_PREFIX) and until > now:
            yield name.removeprefix(_PREFIX)


def read_listening(user_ids: Collection[str]) -> list[tuple[str, str]]:
    """The (user, device) pairs among these users that may be waiting; consistent, a round trip a hundred."""
    items = dynamodb.batch_get({TABLE: [{"user_id": user_id} for user_id in user_ids]})[TABLE]
    return [(item["user_id"], device_id) for item in items for device_id in listening_devices(item)]
