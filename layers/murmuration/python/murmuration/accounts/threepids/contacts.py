"""The addresses of an account: its user adds, lists and removes them.

An address can be added once its user has followed the link in a mail. The user also has to authenticate
(user-interactive authentication).
https://spec.matrix.org/v1.19/client-server-api/#adding-account-administrative-contact-information
"""

from __future__ import annotations

from murmuration.accounts.interactive.interactive_auth import Attempt, reauthenticate
from murmuration.accounts.threepids import binding, validation
from murmuration.identity.tokens import Requester
from murmuration.protocol.bodies import Fields
from murmuration.protocol.encoding.shapes import Answer
from murmuration.protocol.errors import MissingParam, ThreepidAuthFailed


def add_address(requester: Requester, attempt: Attempt) -> Answer:
    """Add a proved address to the requester's account. Idempotent.

    Raises UserInteractiveAuthRequired and what `reauthenticate` raises, ThreepidAuthFailed if the address
    wasn't proved, ThreepidInUse, MissingParam, BadJson.
    https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidadd
    """
    body = Fields(attempt.body)
    sid, client_secret = body.string("sid"), body.string("client_secret")
    reauthenticate(attempt, requester.user_id)
    _add(requester, _proved(sid, client_secret))
    return {}


def post_address(requester: Requester, attempt: Attempt) -> Answer:
    """Add an address as `add_address` does, for the older endpoint: the session is in `three_pid_creds`.

    The user must authenticate here too. Otherwise a stolen access token would be enough to add an address and
    then set a new password with it. Old clients don't expect this request for authentication, so the proof of
    the address is checked first. Raises what `add_address` raises.
    https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pid
    """
    body = Fields(attempt.body)
    given = body.optional_object("three_pid_creds") or body.optional_object("threePidCreds")
    if given is None:
        raise MissingParam("three_pid_creds is missing")
    credentials = Fields(given)
    proved = _proved(credentials.string("sid"), credentials.string("client_secret"))
    reauthenticate(attempt, requester.user_id)
    _add(requester, proved)
    return {}


def _proved(sid: str, client_secret: str) -> validation.Proved:
    proved = validation.validated(sid, client_secret, "add")
    if proved is None:
        raise ThreepidAuthFailed("The link in the mail has not been followed")
    return proved


def _add(requester: Requester, proved: validation.Proved) -> None:
    binding.add(requester.user_id, binding.EMAIL, proved.address, validated_ms=proved.at_ms)


def get_addresses(requester: Requester) -> Answer:
    """Return the requester's addresses.

    https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3account3pid
    """
    return {"threepids": binding.addresses(requester.user_id)}


def delete_address(requester: Requester, body: Fields) -> dict[str, str]:
    """Remove an address from the requester's account, if it has it.

    Returns that no identity server unbound it, because this server uses none. Raises
    ThreepidMediumNotSupported, MissingParam, BadJson, InvalidParam.
    https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3piddelete
    """
    binding.remove(requester.user_id, body.string("medium"), body.string("address"))
    return {"id_server_unbind_result": "no-support"}


def unbind_address(body: Fields) -> dict[str, str]:
    """Return that no identity server unbound an address, because this server uses none. The account keeps it.

    Raises ThreepidMediumNotSupported, MissingParam, BadJson, InvalidParam.
    https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidunbind
    """
    binding.canonical(body.string("medium"), body.string("address"))
    return {"id_server_unbind_result": "no-support"}
