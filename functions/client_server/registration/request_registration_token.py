"""Mail a link to an address that a new account is to have.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3registeremailrequesttoken
"""

from __future__ import annotations

from murmuration.accounts import registration
from murmuration.endpoint import CLIENT_VERSIONS, Auth, Request, endpoint


@endpoint(
    "POST",
    "/_matrix/client/{version}/register/email/requestToken",
    auth=Auth.NONE,
    versions=CLIENT_VERSIONS,
)
def handler(request: Request) -> dict[str, str]:
    return registration.request_token(request.fields(), source_ip=request.source_ip)
