"""Sessions of user-interactive authentication: items `uia#<session>` of the table `transient`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Write
from murmuration.clock import now_ms

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Body
    from murmuration.protocol.identifiers import UserId

TABLE = "transient"
LIFETIME_S = 24 * 3600

Stage = tuple[str, Mapping[str, Any]]
"""A completed stage's type, and what it proved."""


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A stored session: the completed stages in order, and the user that it registered, if any.

    `parameters` are those of the request that began a registration, until it is done.
    """

    completed: Sequence[Stage] = field(default=())
    registered: UserId | None = None
    parameters: Body = field(default_factory=dict)


def session_key(session: str) -> dict[str, str]:
    return {"id": f"uia#{session}"}


def read_session(session: str) -> StoredSession:
    """Return a stored session. One that is unknown or expired has no completed stages."""
    item = dynamodb.get(TABLE, session_key(session))
    if item is None or item["expires"] * 1000 <= now_ms():
        return StoredSession()
    completed = tuple((kind, proof) for kind, proof in json.loads(item.get("completed", "[]")))
    return StoredSession(completed, item.get("registered"), json.loads(item.get("wanted", "{}")))


def remember_parameters(session: str, parameters: Body) -> None:
    """Store the parameters of a registration for later requests that name only the session."""
    dynamodb.execute(
        dynamodb.update(
            TABLE,
            session_key(session),
            "SET wanted = :wanted, expires = :expires",
            values={":wanted": json.dumps(dict(parameters)), ":expires": _expires()},
        )
    )


def record_stages(
    session: str, completed: Sequence[Stage], *, before: Sequence[Stage], lifetime_s: int = LIFETIME_S
) -> None:
    """Replace the completed stages `before` by `completed`. Raises ConditionFailed if the stored ones aren't
    `before`.
    """
    dynamodb.execute(
        dynamodb.update(
            TABLE,
            session_key(session),
            "SET completed = :completed, expires = :expires",
            values={
                ":completed": _encode(completed),
                ":expires": _expires(lifetime_s),
                ":now": now_ms() // 1000,
                **({":before": _encode(before)} if before else {}),
            },
            condition=(
                "completed = :before AND expires > :now"
                if before
                else "attribute_not_exists(completed) OR expires <= :now"
            ),
        )
    )


def end_session(session: str) -> None:
    """Delete a session that isn't needed any more."""
    dynamodb.execute(dynamodb.delete(TABLE, session_key(session)))


def registered_write(session: str, user_id: UserId) -> Write:
    """Return a write that records that the session registered `user_id`, and deletes its parameters.

    It is refused if the session has registered a user before.
    """
    return dynamodb.update(
        TABLE,
        session_key(session),
        "SET registered = :user, expires = :expires REMOVE wanted",
        values={":user": user_id, ":expires": _expires()},
        condition="attribute_not_exists(registered)",
    )


def _encode(completed: Sequence[Stage]) -> str:
    return json.dumps([[kind, dict(proof)] for kind, proof in completed], separators=(",", ":"))


def _expires(lifetime_s: int = LIFETIME_S) -> int:
    return now_ms() // 1000 + lifetime_s
