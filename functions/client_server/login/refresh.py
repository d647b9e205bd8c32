"""Exchange a refresh token for new tokens.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3refresh
"""

from __future__ import annotations

from murmuration.accounts import sessions
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Auth, Request, endpoint


@endpoint("POST", "/_matrix/client/{version}/refresh", auth=Auth.NONE, versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    return sessions.refresh(request.json_object())
