"""Open WebSockets: one item for each connection, with the stream token up to which it has got updates
(`since`).

A worker claims a connection before it posts to it. If a claim is older than `CLAIM_MS`, its worker stopped
halfway, and it isn't known what the client got.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed, Storable, StoredItem, Values
from murmuration.clock import now_ms

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import DeviceId, UserId

TABLE = "connections"
LIFETIME_S = 7_500
"""A little longer than API Gateway keeps a connection open."""
CLAIM_MS = 30_000


@dataclass(frozen=True, slots=True)
class Connection:
    """A WebSocket. `access_hash` is that of the token with which it was opened. Times are in milliseconds.

    `looked_s` is when everything was last looked at for it, in seconds.
    """

    connection_id: str
    user_id: UserId
    device_id: DeviceId
    access_hash: str
    opened_ms: int
    since: str | None = None
    filter: str | None = None
    claimed_ms: int | None = None
    looked_s: int = 0

    @property
    def is_abandoned(self) -> bool:
        """Whether the worker that holds the claim stopped halfway."""
        return self.claimed_ms is not None and self.claimed_ms + CLAIM_MS < now_ms()


def add(connection: Connection) -> None:
    item = {
        **_key(connection.connection_id),
        "user_id": connection.user_id,
        "device_id": connection.device_id,
        "access_hash": connection.access_hash,
        "opened_ms": connection.opened_ms,
        "expires": connection.opened_ms // 1000 + LIFETIME_S,
    }
    if connection.since is not None:
        item["since"] = connection.since
    if connection.filter is not None:
        item["filter"] = connection.filter
    dynamodb.execute(dynamodb.put(TABLE, item))


def read(connection_id: str) -> Connection | None:
    item = dynamodb.get(TABLE, _key(connection_id))
    return _from_item(item) if item is not None else None


def remove(connection_id: str) -> None:
    dynamodb.execute(dynamodb.delete(TABLE, _key(connection_id)))


def claim(connection: Connection) -> bool:
    """Claim the sending of the updates after `since`. Returns False if another worker does or did that.

    If our write is retried after a lost response, `name` shows that the claim is ours.
    """
    name = secrets.token_urlsafe(6)
    values: dict[str, Storable] = {":now": now_ms(), ":name": name}
    condition = "attribute_exists(connection_id) AND attribute_not_exists(claimed_ms) AND "
    if connection.since is None:
        condition += "attribute_not_exists(#since)"
    else:
        condition += "#since = :since"
        values[":since"] = connection.since
    try:
        dynamodb.execute(
            dynamodb.update(
                TABLE,
                _key(connection.connection_id),
                "SET claimed_ms = :now, claim_name = :name REMOVE again",
                values=values,
                names={"#since": "since"},
                condition=condition,
                return_old=True,
            )
        )
    except ConditionFailed as error:
        return (error.item() or {}).get("claim_name") == name
    return True


def call_again(connection_id: str) -> bool:
    """Make the worker with the claim look once more. Returns False if no worker has the claim any more."""
    condition = "attribute_exists(claimed_ms)"
    return _update(connection_id, "SET again = :again", condition, {":again": True})


def move(connection_id: str, since: str, looked_s: int) -> bool:
    """Record what has been sent, and release the claim. Returns False if the worker has to look once more.

    `looked_s` is when everything was last looked at.
    """
    values: Values = {":since": since, ":looked": looked_s}
    expression = "SET #since = :since, looked_s = :looked REMOVE claimed_ms, claim_name"
    if _update(connection_id, expression, "attribute_not_exists(again)", values, since=True):
        return True
    _update(connection_id, f"{expression}, again", "attribute_exists(again)", values, since=True)
    return False


def _update(
    connection_id: str, expression: str, condition: str, values: Values, *, since: bool = False
) -> bool:
    """Update an existing connection. Returns False if it is gone, or `condition` doesn't hold."""
    names = {"#since": "since"} if since else None
    there = f"attribute_exists(connection_id) AND {condition}"
    return dynamodb.try_execute(
        dynamodb.update(TABLE, _key(connection_id), expression, values=values, names=names, condition=there)
    )


def _key(connection_id: str) -> dict[str, str]:
    return {"connection_id": connection_id}


def _from_item(item: StoredItem) -> Connection:
    return Connection(
        connection_id=item["connection_id"],
        user_id=item["user_id"],
        device_id=item["device_id"],
        access_hash=item["access_hash"],
        opened_ms=item["opened_ms"],
        since=item.get("since"),
        filter=item.get("filter"),
        claimed_ms=item.get("claimed_ms"),
        looked_s=item.get("looked_s", 0),
    )
