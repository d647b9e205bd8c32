"""Mails for logging in that were sent: items `login-mail#<session>` of the table `transient`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed
from murmuration.clock import now_ms

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId
    from murmuration.storage.json_types import LoginMailItem

TABLE = "transient"
LIFETIME_S = 900


def create(session: str, kind: str, user_id: UserId | None, secrets: Mapping[str, str]) -> None:
    """Store the content of a session's mail, and replace any earlier one."""
    dynamodb.execute(
        dynamodb.put(
            TABLE,
            {
                **_key(session),
                "kind": kind,
                "user_id": user_id or "",
                **secrets,
                "tries": 0,
                "expires": now_ms() // 1000 + LIFETIME_S,
            },
        )
    )


def read(session: str, kind: str) -> LoginMailItem | None:
    """Return the content of a session's mail; None if it expired or is of another kind."""
    item = cast("LoginMailItem | None", dynamodb.get(TABLE, _key(session)))
    if item is None or item["kind"] != kind or item["expires"] * 1000 <= now_ms():
        return None
    return item


def count_try(session: str, kind: str, *, most: int) -> LoginMailItem | None:
    """Count an attempt, then return what `read` returns; None after `most` attempts.

    Call it before comparing anything.
    """
    try:
        item = dynamodb.execute(
            dynamodb.update(
                TABLE,
                _key(session),
                "SET tries = tries + :one",
                values={":one": 1, ":most": most, ":kind": kind, ":now": now_ms() // 1000},
                condition="kind = :kind AND tries < :most AND expires > :now",
            ),
            returning="ALL_NEW",
        )
    except ConditionFailed:
        return None
    return cast("LoginMailItem | None", item)


def take(item: LoginMailItem) -> bool:
    """Use up a session's mail. Returns False if another request was quicker."""
    return dynamodb.try_execute(
        dynamodb.delete(
            TABLE,
            {"id": item["id"]},
            condition="kind = :kind AND user_id = :user",
            values={":kind": item["kind"], ":user": item["user_id"]},
        )
    )


def _key(session: str) -> dict[str, str]:
    return {"id": f"login-mail#{session}"}
