"""The addresses of an account, as its user adds, sees and removes them.

An address is added once a mail to it was read. Adding takes the user's proof to be there, too.
https://spec.matrix.org/v1.19/client-server-api/#adding-account-administrative-contact-information
"""

from __future__ import annotations

from typing import Any

from murmuration.accounts.interactive.interactive_auth import Attempt, reauthenticate
from murmuration.accounts.threepids import binding, validation
from murmuration.identity.tokens import Requester
from murmuration.protocol.bodies import Fields
from murmuration.protocol.errors import ThreepidAuthFailed


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
