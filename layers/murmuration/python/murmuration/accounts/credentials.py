"""Who a password proves somebody to be. For login and for user-interactive authentication alike."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from murmuration.accounts import passwords
from murmuration.aws import concurrency
from murmuration.identity import rate_limits
from murmuration.protocol.bodies import Fields
from murmuration.protocol.errors import (
    BadJson,
    Forbidden,
    InvalidParam,
    MissingParam,
    ThreepidMediumNotSupported,
    UserDeactivated,
)
from murmuration.protocol.identifiers import is_valid_new_localpart, parse_user_id
from murmuration.settings import settings
from murmuration.storage.users import accounts


@dataclass(frozen=True, slots=True)
class Proof:
    """An account whose owner proved to be there; `password_hash` is what the proof was made against."""

    user_id: str
    password_hash: str
    is_admin: bool


def prove_by_password(fields: Mapping[str, Any]) -> Proof:
    """The account whose identifier and password `fields` hold.

    Raises Forbidden for an unknown user and a wrong password, with the same words and in about the same time;
    UserDeactivated, LimitExceeded after several failures, MissingParam, BadJson, InvalidParam.
    https://spec.matrix.org/v1.19/client-server-api/#password-based
    """
    password = passwords.parse_password(fields.get("password"))
    user_id = identified_user(fields)
    account = None
    if user_id is not None:
        account, _ = concurrency.parallel(
            functools.partial(accounts.read_account, user_id),
            functools.partial(rate_limits.require_open, "failed_login", user_id),
        )
    if user_id is not None and account is not None and "deactivated_ms" in account:
        raise UserDeactivated("This account has been deactivated")
    password_hash = account.get("password_hash") if account else None
    right = passwords.matches(password, password_hash)
    if user_id is None or account is None or password_hash is None or not right:
        if user_id is not None:
            rate_limits.check("failed_login", user_id)
        raise Forbidden("Invalid username or password")
    return Proof(user_id, password_hash, bool(account.get("admin")))


def identified_user(fields: Mapping[str, Any]) -> str | None:
    """The local user that `identifier` (or the older form, in `fields` themselves) names; None if nobody.

    An address is looked up. Raises MissingParam, BadJson.
    https://spec.matrix.org/v1.19/client-server-api/#identifier-types
    """
    identifier = fields.get("identifier")
    if identifier is None:
        is_address = "user" not in fields and ("medium" in fields or "address" in fields)
        identifier = {**fields, "type": "m.id.thirdparty" if is_address else "m.id.user"}
    if not isinstance(identifier, Mapping):
        raise BadJson("identifier must be an object")
    kind = identifier.get("type", "m.id.thirdparty" if "medium" in identifier else None)
    if kind == "m.id.phone":
        return None
    if kind == "m.id.thirdparty":
        return _owner(Fields(identifier))
    if kind != "m.id.user":
        raise BadJson("identifier has an unknown type") if kind else MissingParam("identifier has no type")
    user = identifier.get("user")
    if user is None:
        raise MissingParam("The user is missing")
    if not isinstance(user, str):
        raise BadJson("The user must be a string")
    return local_user_id(user)


def _owner(identifier: Fields) -> str | None:
    medium, address = identifier.string("medium"), identifier.string("address")
    from murmuration.accounts.threepids import binding

    with suppress(InvalidParam, ThreepidMediumNotSupported):
        return binding.owner(medium, address)
    return None


def local_user_id(user: str) -> str | None:
    """The ID of the local user that a client calls `user`, in any case: a localpart or a whole user ID."""
    server_name = settings().server_name
    localpart = user
    if user.startswith("@"):
        if user.partition(":")[2] != server_name:
            return None
        localpart = parse_user_id(user).localpart
    # Beyond ASCII, lower case could make one of today's characters of another: the Kelvin sign becomes a k.
    localpart = localpart.lower() if localpart.isascii() else localpart
    return f"@{localpart}:{server_name}" if is_valid_new_localpart(localpart, server_name) else None
