"""Log in.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3login
"""

from __future__ import annotations

from murmuration.accounts import login
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Auth, Request, endpoint


@endpoint("POST", "/_matrix/client/{version}/login", auth=Auth.NONE, versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    return login.login(request.json_object(), source_ip=request.source_ip)
