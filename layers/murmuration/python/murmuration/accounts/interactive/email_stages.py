"""The stages `m.login.email.code` and `m.login.email.url`: users prove their identity by reading their mail.

The answers don't show whether the address belongs to the user. The stage continues in either case, but a mail
is sent only if it does.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

from murmuration.accounts.credentials import local_user_id
from murmuration.accounts.interactive.interactive_auth import (
    EMAIL_CODE,
    EMAIL_URL,
    Begun,
    Context,
    Outcome,
)
from murmuration.identity import rate_limits
from murmuration.protocol.encoding.shapes import AuthFields
from murmuration.protocol.errors import BadJson, Forbidden, LoginEmailUrlNotYet, MissingParam
from murmuration.settings import settings
from murmuration.storage.auth import login_mails

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId

DIGITS = 8
TRIES = 5


def prove_by_code(context: Context, auth: AuthFields) -> Outcome:
    """Send a code, or check the code that the user entered.

    A code can be used once, allows five tries and is valid for 15 minutes. Raises Forbidden, MissingParam,
    BadJson, LimitExceeded.
    """
    if "code" not in auth:
        return _send_code(context, auth)
    code = auth["code"]
    if not isinstance(code, str):
        raise BadJson("code must be a string")
    sent = login_mails.count_try(context.session, EMAIL_CODE, most=TRIES)
    right = sent is not None and hmac.compare_digest(sent["digest"], _digest(context.session, code.strip()))
    if sent is None or not right or not sent["user_id"] or not login_mails.take(sent):
        raise Forbidden("The code is wrong, or not good any more")
    return {"user_id": sent["user_id"]}


def prove_by_link(context: Context, auth: AuthFields) -> Outcome:
    """Send a link, or check whether the user followed it. Raises LoginEmailUrlNotYet until they have.

    Also raises Forbidden, MissingParam, BadJson, LimitExceeded.
    """
    if "email" in auth:
        return _send_link(context, auth)
    sent = login_mails.read(context.session, EMAIL_URL)
    if sent is None:
        raise MissingParam("email is missing")
    from murmuration.accounts.threepids import validation

    if not sent["user_id"] or validation.validated(sent["sid"], sent["client_secret"], "login") is None:
        raise LoginEmailUrlNotYet("The link in the mail has not been followed yet")
    if not login_mails.take(sent):
        raise Forbidden("The link was used before")
    return {"user_id": sent["user_id"]}


def _send_code(context: Context, auth: AuthFields) -> Begun:
    user_id, address = _recipient(context, auth)
    code = f"{secrets.randbelow(10**DIGITS):0{DIGITS}}"
    login_mails.create(context.session, EMAIL_CODE, user_id, {"digest": _digest(context.session, code)})
    if user_id is not None:
        from murmuration import mail

        server_name = settings().server_name
        mail.send(
            address,
            f"{code} is your code to log in to {server_name}",
            f"Your code to log in to {server_name} as {user_id} is\n\n    {code}\n\n"
            "It is good for a quarter of an hour. If you didn't ask for it, somebody else tried to log in\n"
            "to your account: without this code they can't. Don't pass it on to anybody.\n",
        )
    return Begun()


def _send_link(context: Context, auth: AuthFields) -> Begun:
    user_id, address = _recipient(context, auth)
    secret, sid = secrets.token_urlsafe(24), ""
    if user_id is not None:
        from murmuration.accounts.threepids import validation

        sid = validation.start(
            medium="email", address=address, client_secret=secret, send_attempt=1, purpose="login"
        )
    login_mails.create(context.session, EMAIL_URL, user_id, {"sid": sid, "client_secret": secret})
    return Begun()


def _recipient(context: Context, auth: AuthFields) -> tuple[UserId | None, str]:
    """Return the user who wants to log in (None unless the address is theirs) and the address.

    Raises MissingParam, BadJson, InvalidParam, Forbidden, LimitExceeded.
    """
    from murmuration.accounts.threepids import binding

    email, user = auth.get("email"), auth.get("user", context.user_id)
    if email is None or user is None:
        raise MissingParam("user and email are needed")
    if not isinstance(email, str) or not isinstance(user, str):
        raise BadJson("user and email must be strings")
    address = binding.canonical(binding.EMAIL, email)
    rate_limits.check("login_mail", address)
    user_id = local_user_id(user)
    if context.user_id not in (None, user_id):
        raise Forbidden("The earlier stages of this session were completed by another user")
    known = user_id is not None and binding.owner(binding.EMAIL, address) == user_id
    return (user_id if known else None), address


def _digest(session: str, code: str) -> str:
    return hashlib.sha256(f"{session} {code}".encode()).hexdigest()
