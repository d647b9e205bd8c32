"""Users' addresses: items `threepid#…` of `directory` and `users`, and sessions that prove an address."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Attributes, ConditionFailed, Write
from murmuration.clock import now_ms
from murmuration.protocol.identifiers import UserId

if TYPE_CHECKING:
    from murmuration.storage.json_types import ValidationItem

DIRECTORY, USERS, TRANSIENT = "directory", "users", "transient"
PREFIX = "threepid#"
LIFETIME_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class Address:
    """An email address or phone number of a user."""

    medium: str
    address: str
    validated_ms: int
    added_ms: int


def read_owner(medium: str, address: str) -> UserId | None:
    item = dynamodb.get(DIRECTORY, {"pk": _key(medium, address), "sk": "user"})
    return UserId(str(item["user_id"])) if item is not None else None


def read_addresses(user_id: UserId) -> list[Address]:
    """Return a user's addresses, sorted."""
    found = dynamodb.query(
        USERS, "user_id = :user AND begins_with(sk, :prefix)", {":user": user_id, ":prefix": PREFIX}
    )
    return [
        Address(item["medium"], item["address"], item["validated_ms"], item["added_ms"]) for item in found
    ]


ADDRESS = "address"


def add_writes(user_id: UserId, found: Address) -> list[Write]:
    """Return the writes that give an address to a user. The one named ADDRESS is refused if it is taken."""
    key = _key(found.medium, found.address)
    item = {
        "medium": found.medium,
        "address": found.address,
        "validated_ms": found.validated_ms,
        "added_ms": found.added_ms,
    }
    return [
        dynamodb.put(
            DIRECTORY, {"pk": key, "sk": "user", "user_id": user_id}, condition="attribute_not_exists(pk)"
        ).named(ADDRESS),
        dynamodb.put(USERS, {"user_id": user_id, "sk": key, **item}),
    ]


def remove_writes(user_id: UserId, medium: str, address: str) -> list[Write]:
    """Return the writes that remove an address. The first is refused if it isn't the user's."""
    key = _key(medium, address)
    return [
        dynamodb.delete(
            DIRECTORY, {"pk": key, "sk": "user"}, condition="user_id = :user", values={":user": user_id}
        ),
        dynamodb.delete(USERS, {"user_id": user_id, "sk": key}),
    ]


def _key(medium: str, address: str) -> str:
    return f"{PREFIX}{medium}#{address}"


# -- Proofs ----------------------------------------------------------------------------------------------


def read_validation(sid: str) -> ValidationItem | None:
    """Return the item of a session that proves an address; None if there is none, or it has expired."""
    item = cast("ValidationItem | None", dynamodb.get(TRANSIENT, _session_key(sid)))
    return item if item is not None and item["expires"] * 1000 > now_ms() else None


def begin_validation(sid: str, attributes: Attributes, *, send_attempt: int) -> bool:
    """Begin a session, or begin it again with a later attempt.

    Returns False if this attempt or a later one was made before. Each attempt has its own `token_hash`, so if
    our write is retried after a lost response, it shows that the attempt is ours.
    """
    item = {
        **_session_key(sid),
        **attributes,
        "send_attempt": send_attempt,
        "expires": now_ms() // 1000 + LIFETIME_S,
    }
    return dynamodb.try_execute(
        dynamodb.put(
            TRANSIENT,
            item,
            condition="attribute_not_exists(id) OR expires <= :now"
            " OR (send_attempt < :attempt AND attribute_not_exists(validated_ms)) OR token_hash = :token",
            values={
                ":attempt": send_attempt,
                ":now": now_ms() // 1000,
                ":token": attributes["token_hash"],
            },
        )
    )


def take_back(sid: str, token_hash: str) -> None:
    """Undo the counting of an attempt whose mail could not be sent. A later attempt isn't changed."""
    with suppress(ConditionFailed):
        dynamodb.execute(
            dynamodb.update(
                TRANSIENT,
                _session_key(sid),
                "SET send_attempt = send_attempt - :one",
                values={":one": 1, ":token": token_hash},
                condition="token_hash = :token",
            )
        )


def record_validation(sid: str, token_hash: str) -> None:
    """Record that the owner of an address has presented the token that was sent there.

    Raises ConditionFailed if another token replaced it.
    """
    dynamodb.execute(
        dynamodb.update(
            TRANSIENT,
            _session_key(sid),
            "SET validated_ms = if_not_exists(validated_ms, :now)",
            values={":now": now_ms(), ":token": token_hash},
            condition="token_hash = :token",
        )
    )


def end_validation(sid: str) -> None:
    dynamodb.execute(dynamodb.delete(TRANSIENT, _session_key(sid)))


def _session_key(sid: str) -> dict[str, str]:
    return {"id": f"validation#{sid}"}
