"""Return one room, for a client that opens it.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidinitialsync
"""

from __future__ import annotations

from murmuration.drafts.v1.events import TODAY
from murmuration.drafts.v1.history import room_initial_sync
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Auth, Request, endpoint


@endpoint(
    "GET",
    "/_matrix/client/{version}/rooms/{roomId}/initialSync",
    auth=Auth.DEFERRED_ACCESS_TOKEN,
    versions=CLIENT_VERSIONS,
)
def handler(request: Request) -> Answer:
    return room_initial_sync(request.access_token, request.params["roomId"], request.query, TODAY)
