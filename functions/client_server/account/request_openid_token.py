"""Make a token that proves to others who the requester is.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridopenidrequest_token
"""

from __future__ import annotations

from murmuration.accounts import openid
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint


@endpoint("POST", "/_matrix/client/{version}/user/{userId}/openid/request_token", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    request.json_object()  # it must be there, with nothing in it
    return openid.request_openid_token(request.requester, request.params["userId"])
