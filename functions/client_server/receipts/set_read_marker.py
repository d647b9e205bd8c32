"""Move the read marker and receipts of a room.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidread_markers
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Auth, Request, endpoint
from murmuration.rooms.ephemeral.receipts import set_read_markers


@endpoint(
    "POST",
    "/_matrix/client/{version}/rooms/{roomId}/read_markers",
    auth=Auth.DEFERRED_ACCESS_TOKEN,
    versions=CLIENT_VERSIONS,
)
def handler(request: Request) -> Answer:
    set_read_markers(request.access_token, request.params["roomId"], request.json_object())
    return {}
