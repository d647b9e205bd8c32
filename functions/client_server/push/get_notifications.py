"""List the events of which a user was notified.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3notifications
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.push import notifications


@endpoint("GET", "/_matrix/client/{version}/notifications", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    return notifications.get_notifications(
        request.requester,
        start=request.query.get("from"),
        limit=request.query_int("limit", notifications.DEFAULT, high=notifications.MOST),
        only=request.query.get("only"),
    )
