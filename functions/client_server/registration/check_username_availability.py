"""Return whether a username is available.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3registeravailable
"""

from __future__ import annotations

from murmuration.accounts import registration
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Auth, Request, endpoint


@endpoint("GET", "/_matrix/client/{version}/register/available", auth=Auth.NONE, versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    return registration.check_username_availability(
        request.query.get("username"), source_ip=request.source_ip
    )
