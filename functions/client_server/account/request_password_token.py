"""Mail a user a link with which they may set a new password.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpasswordemailrequesttoken
"""

from __future__ import annotations

from murmuration.accounts import management
from murmuration.endpoint import CLIENT_VERSIONS, Auth, Request, endpoint


@endpoint(
    "POST",
    "/_matrix/client/{version}/account/password/email/requestToken",
    auth=Auth.NONE,
    versions=CLIENT_VERSIONS,
)
def handler(request: Request) -> dict[str, str]:
    return management.request_password_token(request.fields(), source_ip=request.source_ip)
