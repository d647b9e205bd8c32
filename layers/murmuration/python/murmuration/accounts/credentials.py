"""Proves a user's identity by a password, for login and for user-interactive authentication."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.accounts import login_guesses, passwords
from murmuration.identity import rate_limits
from murmuration.protocol.bodies import Fields
from murmuration.protocol.errors import (
    AnotherUser,
    BadJson,
    Forbidden,
    InvalidParam,
    MissingParam,
    ThreepidMediumNotSupported,
    UserDeactivated,
)
from murmuration.protocol.identifiers import UserId, is_valid_new_localpart, parse_user_id, user_id_from
from murmuration.settings import settings
from murmuration.storage.users import accounts

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import Body
    from murmuration.storage.json_types import AccountItem

_WRONG = "Invalid username or password"


@dataclass(frozen=True, slots=True)
class Proof:
    """An account whose owner has proved their identity. `password_hash` is the hash that the password
    matched.
    """

    user_id: UserId
    password_hash: str
    is_admin: bool


def prove_by_password(
    fields: Body, *, source_ip: str = "", expected: str | None = None, even_closing: bool = False
) -> Proof:
    """Return the account whose identifier and password `fields` hold.

    `source_ip` is the client's address. `expected` is the user whom a token or another stage has already
    proved; the password has to be that user's. `even_closing` allows an account whose closing has stopped
    halfway. Every place that checks a password uses this function, so each attempt is counted before the
    password is hashed, even if the user doesn't exist. If the password is right, the attempt isn't counted.

    Raises Forbidden for an unknown user or a wrong password, with the same message and after about the same
    time; AnotherUser if `fields` name another user than `expected`; UserDeactivated; LimitExceeded after
    several failures; MissingParam, BadJson, InvalidParam.
    https://spec.matrix.org/v1.19/client-server-api/#password-based
    """
    password = passwords.parse_password(fields.get("password"))
    taken_ms = rate_limits.check("login", source_ip) if source_ip else 0
    user_id = identified_user(fields)
    if expected not in (None, user_id):
        raise AnotherUser(_WRONG)
    who = user_id or _stranger(fields)
    account = _account_by_password(
        who, password, source_ip, is_known=expected is not None, even_closing=even_closing
    )
    if account is None:
        raise Forbidden(_WRONG)
    if expected is not None and source_ip:
        rate_limits.give_back("login", source_ip, taken_ms)
    login_guesses.remember_network(account, source_ip)
    return Proof(account["user_id"], _hash(account), bool(account.get("admin")))


def is_right_password(user_id: UserId, password: str, *, source_ip: str) -> bool:
    """Return whether `password` is the password of `user_id`, for a request that doesn't name its user.

    Each call counts as an attempt to log in. Raises UserDeactivated, LimitExceeded.
    """
    return _account_by_password(user_id, password, source_ip, is_known=False) is not None


def _account_by_password(
    who: str, password: str, source_ip: str, *, is_known: bool, even_closing: bool = False
) -> AccountItem | None:
    """Return the account of `who` if the password is right; None if it is wrong or there is no such account.

    `who` is a user ID or a key that `_stranger` made. `is_known` says that the request has proved in another
    way that it comes from the user. `even_closing` allows an account whose closing has stopped halfway.
    Raises UserDeactivated, LimitExceeded.
    """
    guess = login_guesses.take(who, source_ip, is_known=is_known)
    account = accounts.read_account(UserId(who)) if who.startswith("@") else None
    if account is not None and "deactivated_ms" in account and not (even_closing and _hash(account)):
        raise UserDeactivated("This account has been deactivated")
    if not passwords.matches(password, (_hash(account) or None) if account else None):
        return None
    guess.give_back()
    return account


def _hash(account: AccountItem) -> str:
    """Return the hash of an account's password; empty if it has none."""
    return str(account.get("password_hash") or account.get("closing_hash") or "")


def _stranger(fields: Body) -> str:
    """Return the key under which failed attempts are counted if `fields` name no user of this server."""
    named = {name: fields.get(name) for name in ("identifier", "user", "medium", "address")}
    text = json.dumps(named, sort_keys=True, default=str)
    return f"?{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()}"


def identified_user(fields: Body) -> UserId | None:
    """Return the local user whom `fields` name; None if there is no such user.

    The user is named by `identifier` or, in the older form, by `fields` themselves. A third-party address is
    looked up. Raises MissingParam, BadJson. https://spec.matrix.org/v1.19/client-server-api/#identifier-types
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


def _owner(identifier: Fields) -> UserId | None:
    medium, address = identifier.string("medium"), identifier.string("address")
    from murmuration.accounts.threepids import binding

    with suppress(InvalidParam, ThreepidMediumNotSupported):
        return binding.owner(medium, address)
    return None


def local_user_id(user: str) -> UserId | None:
    """Return the local user's ID for `user`, which is a localpart or a whole user ID, in upper or
    lower case.
    """
    server_name = settings().server_name
    localpart = user
    if user.startswith("@"):
        if user.partition(":")[2] != server_name:
            return None
        localpart = parse_user_id(user).localpart
    # Lower-casing a character beyond ASCII can produce an ASCII one: the Kelvin sign becomes a k.
    localpart = localpart.lower() if localpart.isascii() else localpart
    return user_id_from(localpart, server_name) if is_valid_new_localpart(localpart, server_name) else None
