"""Proves an address by a link in a mail, and uses that proof as a stage of an operation.

https://spec.matrix.org/v1.19/client-server-api/#email-based-identity--homeserver
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from murmuration import mail
from murmuration.accounts.interactive.interactive_auth import Context
from murmuration.accounts.threepids import binding, validation
from murmuration.accounts.threepids.validation import Purpose
from murmuration.identity import rate_limits
from murmuration.protocol.bodies import Fields, object_of, required
from murmuration.protocol.encoding.shapes import Answer, AuthFields
from murmuration.protocol.errors import (
    Forbidden,
    InvalidParam,
    ThreepidDenied,
    ThreepidInUse,
    ThreepidMediumNotSupported,
    ThreepidNotFound,
)

if TYPE_CHECKING:
    from murmuration.protocol.encoding.shapes import JsonObject

_CLIENT_SECRET = re.compile(r"[0-9a-zA-Z.=_-]{1,255}")


def request_token(purpose: Purpose, body: Fields, *, source_ip: str) -> dict[str, str]:
    """Mail a link to an address. Returns the session (`sid`), which proves the address once the link was
    followed.

    `next_link` is ignored, because the proof is accepted by POST. Raises ThreepidInUse for an address that
    has an account; for a new password, ThreepidNotFound for one that has none; ThreepidMediumNotSupported if
    the server sends no mail; MissingParam, BadJson, InvalidParam, LimitExceeded.
    https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidemailrequesttoken
    """
    mail.require_sender()
    client_secret = body.string("client_secret")
    address = binding.canonical(binding.EMAIL, body.string("email"))
    required(body.values, "send_attempt")
    send_attempt = body.integer("send_attempt", 0)
    if not _CLIENT_SECRET.fullmatch(client_secret):
        raise InvalidParam("client_secret has 1 to 255 of the characters 0-9 a-z A-Z . = _ -")
    rate_limits.check("proof_request", source_ip)
    owner = binding.owner(binding.EMAIL, address)
    if purpose == "password" and owner is None:
        raise ThreepidNotFound("This address belongs to no account")
    if purpose != "password" and owner is not None:
        raise ThreepidInUse("This address belongs to an account already")
    rate_limits.check("proof_mail", address)
    sid = validation.start(
        medium=binding.EMAIL,
        address=address,
        client_secret=client_secret,
        send_attempt=send_attempt,
        purpose=purpose,
    )
    return {"sid": sid}


def refuse_phone_number(*, as_contact: bool) -> Answer:
    """Refuse a phone number: this server sends no text messages.

    As the specification requires, raises ThreepidMediumNotSupported for a contact of an account, and
    ThreepidDenied for a registration or a new password.
    """
    if as_contact:
        raise ThreepidMediumNotSupported("This server takes no phone numbers")
    raise ThreepidDenied("This server takes no phone numbers")


def prove_by_session(context: Context, auth: AuthFields) -> JsonObject:
    """Return what the session in `threepid_creds` proved.

    That is an `address`, the time of the proof (`at_ms`) and, for a new password, the user. Raises Forbidden
    if the link wasn't followed, or was for another purpose; MissingParam, BadJson.
    """
    given = Fields(object_of(required(auth, "threepid_creds"), "threepid_creds"))
    sid, client_secret = given.string("sid"), given.string("client_secret")
    proved = validation.validated(sid, client_secret, context.purpose)
    if proved is None:
        raise Forbidden("The link in the mail has not been followed yet")
    proof = {"sid": sid, "address": proved.address, "at_ms": proved.at_ms}
    if context.purpose != "password":
        return proof
    owner = binding.owner(binding.EMAIL, proved.address)
    if owner is None:
        raise Forbidden("This address belongs to no account any more")
    return {**proof, "user_id": owner}
