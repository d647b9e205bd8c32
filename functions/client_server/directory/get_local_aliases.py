"""List this server's aliases of a room.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidaliases
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Auth, Request, endpoint
from murmuration.rooms.lifecycle import aliases


@endpoint(
    "GET",
    "/_matrix/client/{version}/rooms/{roomId}/aliases",
    auth=Auth.DEFERRED_ACCESS_TOKEN,
    versions=CLIENT_VERSIONS,
)
def handler(request: Request) -> Answer:
    return {"aliases": aliases.get_local_aliases(request.access_token, request.params["roomId"])}
