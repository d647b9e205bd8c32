"""The times of the last notices to the operator: items `notice#<name>` of `transient`."""

from __future__ import annotations

from murmuration.aws import dynamodb
from murmuration.clock import now_ms

TABLE = "transient"


def claim(what: str, quiet_ms: int) -> bool:
    """Return whether to notify the operator now. After True it returns False for `quiet_ms`. One write."""
    now = now_ms()
    item = {"id": f"notice#{what}", "until_ms": now + quiet_ms, "expires": (now + quiet_ms) // 1000 + 60}
    write = dynamodb.put(
        TABLE,
        item,
        condition="attribute_not_exists(until_ms) OR until_ms <= :now",
        values={":now": now},
    )
    return dynamodb.try_execute(write)
