"""Return all rooms, for a client that starts, and the token of the event stream.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3initialsync
"""

from __future__ import annotations

from murmuration.drafts.v1.events import TODAY
from murmuration.drafts.v1.stream import initial_sync
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Auth, Request, endpoint


@endpoint(
    "GET", "/_matrix/client/{version}/initialSync", auth=Auth.DEFERRED_ACCESS_TOKEN, versions=CLIENT_VERSIONS
)
def handler(request: Request) -> Answer:
    return initial_sync(request.access_token, request.query, TODAY)
