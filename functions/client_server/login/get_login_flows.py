"""Return the flows by which clients can log in.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3login
"""

from __future__ import annotations

from murmuration.accounts import login
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Auth, Request, endpoint


@endpoint("GET", "/_matrix/client/{version}/login", auth=Auth.NONE, versions=CLIENT_VERSIONS)
def handler(_request: Request) -> Answer:
    return login.get_login_flows()
