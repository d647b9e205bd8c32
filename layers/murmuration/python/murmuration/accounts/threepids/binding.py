"""Which user an address belongs to.
https://spec.matrix.org/v1.19/client-server-api/#adding-account-administrative-contact-information
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed, Write
from murmuration.clock import now_ms
from murmuration.protocol.errors import InvalidParam, ThreepidInUse, ThreepidMediumNotSupported
from murmuration.storage.users import threepids

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId

EMAIL = "email"
MAX_LENGTH = 254
_ADDRESS = re.compile(r"[^\s@<>,;:\"()\[\]\\\x00-\x1f\x7f]+@[^\s@<>,;:\"()\[\]\\\x00-\x1f\x7f]+")


def canonical(medium: str, address: str) -> str:
    """Return the canonical form in which an address is stored.

    Raises InvalidParam, ThreepidMediumNotSupported.
    """
    if medium != EMAIL:
        raise ThreepidMediumNotSupported("This server supports e-mail addresses only")
    found = address.strip().casefold()
    if not _ADDRESS.fullmatch(found) or len(found) > MAX_LENGTH:
        raise InvalidParam("This is not an e-mail address")
    return found


def owner(medium: str, address: str) -> UserId | None:
    """Return the user who has the address; None if nobody has. Raises InvalidParam,
    ThreepidMediumNotSupported.
    """
    return threepids.read_owner(medium, canonical(medium, address))


def addresses(user_id: UserId) -> list[dict[str, Any]]:
    """Return a user's addresses in the form for clients: `medium`, `address`, `validated_at`, `added_at`."""
    return [
        {
            "medium": found.medium,
            "address": found.address,
            "validated_at": found.validated_ms,
            "added_at": found.added_ms,
        }
        for found in threepids.read_addresses(user_id)
    ]


def add(user_id: UserId, medium: str, address: str, *, validated_ms: int) -> None:
    """Add a proved address to a user's account. Idempotent.

    Raises ThreepidInUse if another user has it, InvalidParam, ThreepidMediumNotSupported.
    """
    try:
        dynamodb.transact(add_writes(user_id, medium, address, validated_ms=validated_ms))
    except ConditionFailed as error:
        if owner(medium, address) != user_id:
            raise ThreepidInUse("This address belongs to another account") from error


def add_writes(user_id: UserId, medium: str, address: str, *, validated_ms: int) -> list[Write]:
    """Return the writes that give the user an address. The one named `threepids.ADDRESS` is refused if it is
    taken.

    Raises InvalidParam, ThreepidMediumNotSupported.
    """
    found = threepids.Address(medium, canonical(medium, address), validated_ms, now_ms())
    return threepids.add_writes(user_id, found)


def remove_all(user_id: UserId) -> None:
    """Remove all addresses of a user. If it stops halfway, the same call continues."""
    for found in threepids.read_addresses(user_id):
        remove(user_id, found.medium, found.address)


def remove(user_id: UserId, medium: str, address: str) -> None:
    """Remove an address of the user. Does nothing if the address belongs to another account."""
    try:
        dynamodb.transact(threepids.remove_writes(user_id, medium, canonical(medium, address)))
    except ConditionFailed:
        return
