"""Create a token that proves the requester's identity to others.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridopenidrequest_token
"""

from __future__ import annotations

from murmuration.accounts import openid
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint


@endpoint("POST", "/_matrix/client/{version}/user/{userId}/openid/request_token", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    request.json_object()  # a body is required, but its content isn't used
    return openid.request_openid_token(request.requester, request.params["userId"])
