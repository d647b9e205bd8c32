"""The addresses of an account, as its user adds, sees and removes them.

An address is added once a mail to it was read. Adding takes the user's proof to be there, too.
https://spec.matrix.org/v1.19/client-server-api/#adding-account-administrative-contact-information
"""

from __future__ import annotations

import re
from typing import Any

from murmuration import mail, rate_limits
from murmuration.accounts.interactive_auth import Attempt, reauthenticate
from murmuration.accounts.tokens import Requester
from murmuration.protocol.bodies import Fields, required
from murmuration.protocol.errors import InvalidParam, ThreepidAuthFailed, ThreepidInUse
from murmuration.threepids import binding, validation

_CLIENT_SECRET = re.compile(r"[0-9a-zA-Z.=_-]{1,255}")


def request_token(body: Fields, *, source_ip: str) -> dict[str, str]:
    """Send a link to an address; the session (`sid`) in which it's proved once the link was followed.

    A `next_link` leads nowhere, as the proof is taken by POST. Raises ThreepidInUse,
    ThreepidMediumNotSupported where there is no sender of mail, MissingParam, BadJson, InvalidParam,
    LimitExceeded. https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidemailrequesttoken
    """
    mail.require_sender()
    client_secret, address = (
        body.string("client_secret"),
        binding.canonical(binding.EMAIL, body.string("email")),
    )
    required(body.values, "send_attempt")
    send_attempt = body.integer("send_attempt", 0)
    if not _CLIENT_SECRET.fullmatch(client_secret):
        raise InvalidParam("client_secret has 1 to 255 of the characters 0-9 a-z A-Z . = _ -")
    rate_limits.check("proof_request", source_ip)
    if binding.owner(binding.EMAIL, address) is not None:
        raise ThreepidInUse("This address belongs to an account already")
    rate_limits.check("proof_mail", address)
    sid = validation.start(
        medium=binding.EMAIL,
        address=address,
        client_secret=client_secret,
        send_attempt=send_attempt,
        purpose="add",
    )
    return {"sid": sid}


def add_address(requester: Requester, attempt: Attempt) -> dict[str, Any]:
    """Make a proved address the requester's. Idempotent.

    Raises UserInteractiveAuthRequired and what `reauthenticate` raises, ThreepidAuthFailed for what wasn't
    proved, ThreepidInUse, MissingParam, BadJson.
    https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidadd
    """
    body = Fields(attempt.body)
    sid, client_secret = body.string("sid"), body.string("client_secret")
    reauthenticate(attempt, requester.user_id)
    proved = validation.validated(sid, client_secret, "add")
    if proved is None:
        raise ThreepidAuthFailed("The link in the mail has not been followed")
    binding.add(requester.user_id, binding.EMAIL, proved.address, validated_ms=proved.at_ms)
    return {}


def get_addresses(requester: Requester) -> dict[str, Any]:
    """The requester's addresses.

    https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3account3pid
    """
    return {"threepids": binding.addresses(requester.user_id)}


def delete_address(requester: Requester, body: Fields) -> dict[str, str]:
    """Remove an address from the requester's account, where it is there.

    Raises ThreepidMediumNotSupported, MissingParam, BadJson, InvalidParam.
    https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3piddelete
    """
    binding.remove(requester.user_id, body.string("medium"), body.string("address"))
    return {"id_server_unbind_result": "no-support"}
