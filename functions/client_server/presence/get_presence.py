"""Return a user's presence.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3presenceuseridstatus
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.presence.requests import get_status
from murmuration.protocol.presence import as_today


@endpoint("GET", "/_matrix/client/{version}/presence/{userId}/status", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    status = get_status(request.requester.user_id, request.params["userId"])
    return {**status, "presence": as_today(status["presence"])}
