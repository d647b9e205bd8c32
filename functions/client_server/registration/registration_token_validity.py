"""Return whether a registration token can be used.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1registermloginregistration_tokenvalidity
"""

from __future__ import annotations

from murmuration.accounts import registration_tokens
from murmuration.endpoint import Answer, Auth, Request, endpoint


@endpoint(
    "GET",
    "/_matrix/client/{version}/register/m.login.registration_token/validity",
    auth=Auth.NONE,
    versions=("v1",),
)
def handler(request: Request) -> Answer:
    return registration_tokens.check_validity(request.query.get("token"), source_ip=request.source_ip)
