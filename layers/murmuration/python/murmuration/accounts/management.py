"""What users do with their accounts: set a new password, or deactivate the account.

https://spec.matrix.org/v1.19/client-server-api/#legacy-account-management
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from murmuration import server_keys
from murmuration.accounts import devices, passwords
from murmuration.accounts.interactive.interactive_auth import (
    EMAIL_IDENTITY,
    PASSWORD,
    Attempt,
    Authorised,
    Flow,
    authorise,
    reauthenticate,
)
from murmuration.aws.dynamodb import ConditionFailed
from murmuration.clock import now_ms
from murmuration.identity.tokens import Requester
from murmuration.protocol.bodies import Fields
from murmuration.protocol.encoding.shapes import Answer
from murmuration.protocol.errors import BadJson, MissingParam, NotFound, UserDeactivated
from murmuration.settings import settings
from murmuration.storage.users import accounts, delayed_events, profiles, subjects, user_words

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId

CLOSING_MS = 600_000
"""The time after which an unfinished closing of an account counts as stopped."""


def change_password(requester: Requester | None, attempt: Attempt) -> Answer:
    """Set a new password, and log out the user's other devices unless `logout_devices` is false.

    Without an access token, the user is identified by the old password or by a link in a mail, which can then
    not be used again. Raises UserInteractiveAuthRequired, MissingParam, BadJson, InvalidParam, WeakPassword
    and what `authorise` raises.
    https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpassword
    """
    new_password = attempt.body.get("new_password")
    if new_password is None:
        raise MissingParam("new_password is missing")
    new_password = passwords.parse_new_password(new_password)
    logout_devices = _boolean(attempt, "logout_devices", default=True)
    by_mail = [(EMAIL_IDENTITY,)] if settings().mail_sender else []
    authorised = _authorised(requester, _without_secret(attempt, new_password), by_mail)
    user_id = authorised.user_id
    try:
        accounts.set_password(user_id, passwords.hash_password(new_password))
    except ConditionFailed as error:
        raise UserDeactivated("This account has been deactivated") from error
    if logout_devices:
        devices.remove_all_devices(user_id, spare=requester.device_id if requester else None)
    if EMAIL_IDENTITY in authorised.proofs:
        from murmuration.accounts.threepids import validation

        validation.end(authorised.proofs[EMAIL_IDENTITY]["sid"])
    return {}


def request_password_token(body: Fields, *, source_ip: str) -> dict[str, str]:
    """Mail a user a link with which they may set a new password. Returns its session (`sid`).

    Raises ThreepidNotFound and what `proofs.request_token` raises.
    https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpasswordemailrequesttoken
    """
    from murmuration.accounts.threepids import proofs

    return proofs.request_token("password", body, source_ip=source_ip)


def deactivate_account(requester: Requester | None, attempt: Attempt) -> Answer:
    """Deactivate an account permanently: delete its login, devices, rooms, profile and data.

    Without an access token, the password identifies the user. If the work stops halfway, the same request
    continues it: the requester's device and the password are deleted last. A worker continues it, too. Raises
    UserInteractiveAuthRequired, BadJson and what `authorise` raises.
    https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate
    """
    erase = _boolean(attempt, "erase", default=False)
    user_id = _deactivated_before(requester) or _authorised(requester, attempt).user_id
    close_account(user_id, erase=erase, last_device=requester.device_id if requester else None)
    # This server binds no third-party identifiers, so none stays bound.
    return {"id_server_unbind_result": "success"}


def close_account(user_id: UserId, *, erase: bool = False, last_device: str | None = None) -> None:
    """Deactivate an account permanently. If it stops halfway, the same call continues. Raises NotFound.

    With `erase`, users who join the account's rooms later get redacted copies of its events. `erase` may also
    be passed for an account that is deactivated already.
    """
    from murmuration.accounts.threepids import binding
    from murmuration.federation.membership.leaving import leave_all_rooms
    from murmuration.rooms.reading.erasures import erase_in_rooms

    try:
        accounts.begin_closing(user_id, at_ms=now_ms(), erase=erase)
    except ConditionFailed as error:
        raise NotFound(f"There is no user {user_id}") from error
    devices.remove_all_devices(user_id, spare=last_device)
    leave_all_rooms(user_id)
    if erase:
        erase_in_rooms(user_id)
    subjects.unlink_all(user_id)
    binding.remove_all(user_id)
    # This comes before the profile is deleted, because the words of the user directory are derived from it.
    user_words.remove_all(user_id, profiles.read_profile(user_id).fields.get("displayname"))
    accounts.purge_user_data(user_id)
    devices.remove_all_devices(user_id)
    delayed_events.purge(user_id)
    accounts.end_closing(user_id)


def finish_closing() -> None:
    """Complete closings of accounts that stopped halfway. A failure doesn't affect the other accounts."""
    for user_id in accounts.read_closing(now_ms() - CLOSING_MS):
        account = accounts.read_account(user_id)
        try:
            close_account(user_id, erase=account is not None and account.get("erased", False))
        except Exception:
            logging.getLogger("murmuration.accounts").exception("an account wasn't closed")


def reset_password(user_id: UserId, password: str) -> None:
    """Set a password for an operator, and log out all devices.

    Raises NotFound for an account that doesn't exist or was deactivated, WeakPassword, InvalidParam.
    """
    try:
        accounts.set_password(user_id, passwords.hash_password(passwords.parse_new_password(password)))
    except ConditionFailed as error:
        raise NotFound(f"There is no active user {user_id}") from error
    devices.remove_all_devices(user_id)


def set_admin(user_id: UserId, admin: bool) -> None:
    """Make a user an administrator of the server, or end that, on all devices. Raises NotFound.

    If it stopped halfway, the same call completes it.
    """
    try:
        accounts.set_admin(user_id, admin)
    except ConditionFailed as error:
        raise NotFound(f"There is no active user {user_id}") from error
    for device in accounts.read_devices(user_id):
        accounts.update_device(user_id, accounts.device_id_of(device), {"admin": admin})


def _deactivated_before(requester: Requester | None) -> UserId | None:
    """Return the requester if an earlier request deactivated the account but stopped halfway; else None.

    Such an account has no password any more, so its user can't authenticate again.
    """
    account = accounts.read_account(requester.user_id) if requester else None
    return account["user_id"] if account and "deactivated_ms" in account else None


def _authorised(requester: Requester | None, attempt: Attempt, otherwise: Sequence[Flow] = ()) -> Authorised:
    """Require the requester's authentication; without a requester, a password or one of the flows
    `otherwise`.
    """
    if requester is not None:
        return reauthenticate(attempt, requester.user_id)
    return authorise(attempt, [(PASSWORD,), *otherwise], purpose="password")


def _without_secret(attempt: Attempt, new_password: str) -> Attempt:
    """Return the attempt with the new password replaced by a keyed digest of it.

    A session's ID contains a digest of the body, and may appear in logs. Without the key, nobody who reads it
    there can test guesses of the password.
    """
    digest = hmac.digest(server_keys.derived_key("new passwords"), new_password.encode(), "sha256")
    return replace(attempt, body={**attempt.body, "new_password": digest.hex()})


def _boolean(attempt: Attempt, name: str, *, default: bool) -> bool:
    value = attempt.body.get(name, default)
    if not isinstance(value, bool):
        raise BadJson(f"{name} must be a boolean")
    return value
