"""Mail a link to an address that is to be added to an account.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidemailrequesttoken
"""

from __future__ import annotations

from murmuration.accounts.threepids import proofs
from murmuration.endpoint import CLIENT_VERSIONS, Auth, Request, endpoint


@endpoint(
    "POST",
    "/_matrix/client/{version}/account/3pid/email/requestToken",
    auth=Auth.NONE,
    versions=CLIENT_VERSIONS,
)
def handler(request: Request) -> dict[str, str]:
    return proofs.request_token("add", request.fields(), source_ip=request.source_ip)
