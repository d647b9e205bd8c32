"""Proof that a user owns an address: they follow a link in a mail.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidemailrequesttoken
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlencode

from murmuration import mail, pages
from murmuration.accounts.threepids.binding import canonical
from murmuration.aws.dynamodb import ConditionFailed
from murmuration.identity.tokens import hash_secret
from murmuration.pages import Page, escape
from murmuration.protocol.errors import Forbidden, InvalidParam
from murmuration.settings import settings
from murmuration.storage.users import threepids

Purpose = Literal["login", "add", "register", "password"]
SUBMIT = "/_matrix/client/v3/account/3pid/email/submitToken"
MAX_SECRET = 255
_SUBJECTS: dict[Purpose, str] = {
    "login": "log in to {server}",
    "add": "add this address to an account at {server}",
    "register": "create an account at {server}",
    "password": "set a new password at {server}",
}
"""The purposes of a link, each with the words that end the mail's sentence."""


@dataclass(frozen=True, slots=True)
class Proved:
    """An address whose owner proved that it is theirs, and the time of the proof."""

    address: str
    at_ms: int


def start(*, medium: str, address: str, client_secret: str, send_attempt: int, purpose: Purpose) -> str:
    """Mail a link to an address. Returns the session, which proves the address once the link was followed.

    A repeated or earlier attempt sends no second mail, unless the first couldn't be sent. Raises
    InvalidParam, ThreepidMediumNotSupported, Unavailable.
    """
    mail.require_sender()
    address = canonical(medium, address)
    if not 0 < len(client_secret) <= MAX_SECRET:
        raise InvalidParam(f"client_secret has 1 to {MAX_SECRET} characters")
    sid, token = _session_of(medium, address, client_secret, purpose), secrets.token_urlsafe(24)
    kept = {
        "medium": medium,
        "address": address,
        "purpose": purpose,
        "secret_hash": hash_secret(client_secret),
        "token_hash": hash_secret(token),
    }
    if threepids.begin_validation(sid, kept, send_attempt=send_attempt):
        sent = False
        try:
            _send_link(address, purpose, {"sid": sid, "client_secret": client_secret, "token": token})
            sent = True
        finally:
            if not sent:
                threepids.take_back(sid, kept["token_hash"])
    return sid


def submit(sid: str, client_secret: str, token: str) -> None:
    """Record the proof that a mail was read. Idempotent. Raises Forbidden."""
    found = threepids.read_validation(sid)
    right = (
        found is not None
        and hmac.compare_digest(found["secret_hash"], hash_secret(client_secret))
        and hmac.compare_digest(found["token_hash"], hash_secret(token))
    )
    try:
        if not right:
            raise Forbidden("This link is not good any more")
        threepids.record_validation(sid, hash_secret(token))
    except ConditionFailed as error:
        raise Forbidden("This link is not good any more") from error


def validated(sid: str, client_secret: str, purpose: str) -> Proved | None:
    """Return the proof of the session; None if it has none, belongs to another client, or is for another
    purpose.
    """
    found = threepids.read_validation(sid)
    if found is None or "validated_ms" not in found or found["purpose"] != purpose:
        return None
    if not hmac.compare_digest(found["secret_hash"], hash_secret(client_secret)):
        return None
    return Proved(str(found["address"]), int(found["validated_ms"]))


def end(sid: str) -> None:
    """End the session, so that it proves nothing any more. Idempotent."""
    threepids.end_validation(sid)


def get_submit_page() -> Page:
    """Return a page that asks the user to press a button. Programs that scan mail follow links, but press no
    buttons.
    """
    return pages.page(
        "Confirm",
        f"<p>Somebody asked for this link to prove at {escape(settings().server_name)} that your e-mail "
        "address is theirs. Go on only if that was you.</p>"
        '<form method="post"><button>It was me</button></form>',
    )


def submit_page(sid: str, client_secret: str, token: str) -> Page:
    """Accept the token of a link as proof, and return a page that says so. Raises Forbidden."""
    submit(sid, client_secret, token)
    words = '<p role="status">This is confirmed. You can close this page and go back to your client.</p>'
    return pages.page("Thank you", words)


def _session_of(medium: str, address: str, client_secret: str, purpose: Purpose) -> str:
    """Return the session's ID. The same parameters give the same ID, so a repeated request continues the
    session.
    """
    joined = "\0".join((medium, address, client_secret, purpose))
    return urlsafe_b64encode(hashlib.sha256(joined.encode()).digest()[:24]).decode()


def _send_link(address: str, purpose: Purpose, query: dict[str, str]) -> None:
    aim = _SUBJECTS[purpose].format(server=settings().server_name)
    link = f"{settings().public_url}{SUBMIT}?{urlencode(query)}"
    text = (
        f"To {aim}, open this link and press the button there:\n\n{link}\n\n"
        "If you didn't ask for it, somebody else did: then do nothing, and nothing happens.\n"
    )
    html = (
        f'<p>To {escape(aim)}, <a href="{escape(link)}">open this page</a> and press the button there.</p>'
        "<p>If you didn’t ask for it, somebody else did: then do nothing, and nothing happens.</p>"
    )
    mail.send(address, f"To {aim}", text, html)
