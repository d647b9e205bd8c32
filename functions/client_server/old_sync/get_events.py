"""Return the events since a token, or wait for them.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3events
"""

from __future__ import annotations

from murmuration.drafts.v1.events import TODAY
from murmuration.drafts.v1.stream import get_events
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Auth, Request, endpoint


@endpoint(
    "GET", "/_matrix/client/{version}/events", auth=Auth.DEFERRED_ACCESS_TOKEN, versions=CLIENT_VERSIONS
)
def handler(request: Request) -> Answer:
    return get_events(request.access_token, request.query, TODAY)
