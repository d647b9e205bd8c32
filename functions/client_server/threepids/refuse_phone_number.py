"""Refuse to prove a phone number for an account, a registration or a password: this server sends no text
messages.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidmsisdnrequesttoken
"""

from __future__ import annotations

from murmuration.accounts.threepids import proofs
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Auth, Request, endpoint


@endpoint(
    "POST",
    "/_matrix/client/{version}/account/3pid/msisdn/requestToken",
    auth=Auth.NONE,
    versions=CLIENT_VERSIONS,
    also=(
        "/_matrix/client/{version}/account/password/msisdn/requestToken",
        "/_matrix/client/{version}/register/msisdn/requestToken",
    ),
)
def handler(request: Request) -> Answer:
    return proofs.refuse_phone_number(as_contact="/account/3pid/" in request.path)
