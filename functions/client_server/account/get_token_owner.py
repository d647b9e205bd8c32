"""Return the user and device of the access token.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3accountwhoami
"""

from __future__ import annotations

from murmuration.accounts import sessions
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint


@endpoint("GET", "/_matrix/client/{version}/account/whoami", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    return sessions.get_token_owner(request.requester)
