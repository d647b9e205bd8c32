"""Suspend an account, or end its suspension.

https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv1adminsuspenduserid
"""

from __future__ import annotations

from murmuration.accounts import moderation
from murmuration.endpoint import Answer, Request, endpoint


@endpoint("PUT", "/_matrix/client/{version}/admin/suspend/{userId}", versions=("v1",))
def handler(request: Request) -> Answer:
    return dict(moderation.set_suspension(request.requester, request.params["userId"], request.fields()))
