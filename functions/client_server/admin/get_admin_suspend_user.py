"""Return whether an account is suspended.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1adminsuspenduserid
"""

from __future__ import annotations

from murmuration.accounts import moderation
from murmuration.endpoint import Answer, Request, endpoint


@endpoint("GET", "/_matrix/client/{version}/admin/suspend/{userId}", versions=("v1",))
def handler(request: Request) -> Answer:
    return dict(moderation.get_suspension(request.requester, request.params["userId"]))
