"""Users' addresses: `threepid#…` items in `directory` and with their user; and proofs on their way."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import Attributes, ConditionFailed, Item, Write
from murmuration.clock import now_ms

DIRECTORY, USERS, TRANSIENT = "directory", "users", "transient"
PREFIX = "threepid#"
LIFETIME_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class Address:
    """An address of a user's."""

    medium: str
    address: str
    validated_ms: int
    added_ms: int


def read_owner(medium: str, address: str) -> str | None:
    item = dynamodb.get(DIRECTORY, {"pk": _key(medium, address), "sk": "user"})
    return str(item["user_id"]) if item is not None else None


def read_addresses(user_id: str) -> list[Address]:
    """In the order of the addresses."""
    found = dynamodb.query(
        USERS, "user_id = :user AND begins_with(sk, :prefix)", {":user": user_id, ":prefix": PREFIX}
    )
    return [
        Address(item["medium"], item["address"], item["validated_ms"], item["added_ms"]) for item in found
    ]


ADDRESS = "address"


def add_writes(user_id: str, found: Address) -> list[Write]:
    """Make an address a user's. The write named ADDRESS is refused if it is somebody's."""
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


def remove_writes(user_id: str, medium: str, address: str) -> list[Write]:
    """Take an address away; the first write is refused where it isn't the user's."""
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


def read_validation(sid: str) -> Item | None:
    """A session in which an address is proved: `address`, `secret_hash`, `token_hash`, (`validated_ms`) …"""
    item = dynamodb.get(TRANSIENT, _session_key(sid))
    return item if item is not None and item["expires"] * 1000 > now_ms() else None


def begin_validation(sid: str, attributes: Attributes, *, send_attempt: int) -> bool:
    """Begin, or begin anew with a later attempt; False if this attempt, or a later one, was made before.

    Each has a `token_hash` of its own, so that one whose answer was lost knows itself when it's sent again.
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
    """Uncount a send attempt whose mail could not be sent. A later attempt isn't touched."""
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
    """Take note that the token was shown. Raises ConditionFailed where another one has replaced it."""
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
