"""Short-lived tokens that represent a user: items `<kind>#<hash>` of the table `transient`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed, Item
from murmuration.clock import now_ms

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId

TABLE = "transient"
LOGIN = "login"
OPENID = "openid"


def create(kind: str, token_hash: str, user_id: UserId, *, expires_ms: int) -> None:
    item = {**_key(kind, token_hash), "user_id": user_id, "expires_ms": expires_ms}
    dynamodb.execute(dynamodb.put(TABLE, {**item, "expires": expires_ms // 1000 + 1}))


def read(kind: str, token_hash: str) -> UserId | None:
    """Return the user to whom the token belongs; None if it is unknown or expired."""
    return _user(dynamodb.get(TABLE, _key(kind, token_hash)))


def take(kind: str, token_hash: str) -> UserId | None:
    """Return what `read` returns, and delete the token. Of several callers only one gets it."""
    try:
        deletion = dynamodb.delete(TABLE, _key(kind, token_hash), condition="attribute_exists(id)")
        return _user(dynamodb.execute(deletion, returning="ALL_OLD"))
    except ConditionFailed:
        return None


def _user(item: Item | None) -> UserId | None:
    return item["user_id"] if item is not None and item["expires_ms"] > now_ms() else None


def _key(kind: str, token_hash: str) -> dict[str, str]:
    return {"id": f"{kind}#{token_hash}"}
