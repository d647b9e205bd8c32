"""Read a room's whole state.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstate
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Auth, Request, endpoint
from murmuration.protocol.sizes import RawJson
from murmuration.rooms.reading import state_reads


@endpoint(
    "GET",
    "/_matrix/client/{version}/rooms/{roomId}/state",
    auth=Auth.DEFERRED_ACCESS_TOKEN,
    versions=CLIENT_VERSIONS,
)
def handler(request: Request) -> RawJson:
    return state_reads.get_room_state_text(request.access_token, request.params["roomId"])
