"""Return when and from which addresses a user's devices were last used.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3adminwhoisuserid
"""

from __future__ import annotations

from murmuration.accounts import moderation
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint


@endpoint("GET", "/_matrix/client/{version}/admin/whois/{userId}", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    return dict(moderation.get_who_is(request.requester, request.params["userId"]))
