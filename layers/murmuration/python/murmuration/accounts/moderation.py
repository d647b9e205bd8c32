"""Administrators' actions on accounts: list their devices, lock them, suspend them.

https://spec.matrix.org/v1.19/client-server-api/#account-moderation
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from murmuration.aws.dynamodb import ConditionFailed
from murmuration.identity.moderation import LOCKED, SUSPENDED
from murmuration.identity.tokens import Requester
from murmuration.protocol.bodies import Fields, required
from murmuration.protocol.encoding.shapes import Answer
from murmuration.protocol.errors import Forbidden, InvalidParam, NotFound
from murmuration.protocol.identifiers import UserId
from murmuration.storage.live import streams
from murmuration.storage.rooms.member_index import is_local_id
from murmuration.storage.users import accounts

Flag: TypeAlias = Literal["locked", "suspended"]


def get_who_is(requester: Requester, user_id: UserId) -> Answer:
    """Return when and from which address each of a user's devices was last used.

    The requester must be that user or an administrator. Raises Forbidden, InvalidParam, NotFound.
    """
    if user_id != requester.user_id:
        _require_admin(requester)
        _require_local(user_id)
        if accounts.read_account(user_id) is None:
            raise NotFound("There is no such user")
    devices = {}
    for device in accounts.read_devices(user_id):
        values = {"ip": device.get("last_seen_ip"), "last_seen": device.get("last_seen_ms")}
        seen = {name: value for name, value in values.items() if value is not None}
        devices[accounts.device_id_of(device)] = {"sessions": [{"connections": [seen]}]}
    return {"user_id": user_id, "devices": devices}


def get_lock(requester: Requester, user_id: UserId) -> dict[str, bool]:
    """Return whether an account is locked.

    Raises Forbidden, InvalidParam for another server's user, NotFound.
    """
    return {LOCKED: _find(requester, user_id, LOCKED)}


def set_lock(requester: Requester, user_id: UserId, body: Fields) -> dict[str, bool]:
    """Lock an account, or unlock it. Raises MissingParam, BadJson and what `_set` raises."""
    required(body.values, LOCKED)
    return {LOCKED: _set(requester, user_id, LOCKED, body.boolean(LOCKED, default=False))}


def get_suspension(requester: Requester, user_id: UserId) -> dict[str, bool]:
    """Return whether an account is suspended.

    Raises Forbidden, InvalidParam for another server's user, NotFound.
    """
    return {SUSPENDED: _find(requester, user_id, SUSPENDED)}


def set_suspension(requester: Requester, user_id: UserId, body: Fields) -> dict[str, bool]:
    """Suspend an account, or end its suspension. Raises MissingParam, BadJson and what `_set` raises."""
    required(body.values, SUSPENDED)
    return {SUSPENDED: _set(requester, user_id, SUSPENDED, body.boolean(SUSPENDED, default=False))}


def _find(requester: Requester, user_id: UserId, flag: Flag) -> bool:
    """Return one flag of an account. Raises Forbidden, NotFound, and InvalidParam for another
    server's user.
    """
    _require_admin(requester)
    _require_local(user_id)
    account = accounts.read_account(user_id)
    if account is None or "deactivated_ms" in account:
        raise NotFound("There is no such user")
    if account.get("admin"):
        raise Forbidden("They are an administrator")
    return bool(account.get(flag))


def _set(requester: Requester, user_id: UserId, flag: Flag, on: bool) -> bool:
    """Set a flag of an account and of its devices. If it stops halfway, the same request continues.

    Each request checks the flag on its device, which saves reading the account. Waiting clients are woken.
    Raises Forbidden, InvalidParam for another server's user, NotFound.
    """
    _require_admin(requester)
    if user_id == requester.user_id:
        raise Forbidden("This is your own account")
    _find(requester, user_id, flag)
    try:
        accounts.set_flag(user_id, flag, on)
    except ConditionFailed as error:
        raise Forbidden("They are an administrator, or their account was closed") from error
    accounts.copy_flags(user_id, [flag])
    streams.nudge(streams.user_stream(user_id))
    return on


def _require_admin(requester: Requester) -> None:
    if not requester.is_admin:
        raise Forbidden("You are not an administrator of this server")


def _require_local(user_id: UserId) -> None:
    if not is_local_id(user_id):
        raise InvalidParam("The user does not belong to this server")
