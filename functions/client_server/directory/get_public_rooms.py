"""List the published rooms. Those of another server are only for users with a token.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3publicrooms
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Auth, Request, endpoint
from murmuration.federation.finding import public_rooms
from murmuration.protocol.identifiers import ServerName
from murmuration.rooms.lifecycle.public_rooms import DirectoryRequest

if TYPE_CHECKING:
    from murmuration.rooms.json_types import PublicRoomsPage


@endpoint(
    "GET",
    "/_matrix/client/{version}/publicRooms",
    auth=Auth.NONE,
    versions=CLIENT_VERSIONS,
    also=("/_matrix/client/api/v1/publicRooms",),
)
def handler(request: Request) -> PublicRoomsPage | Answer:
    wanted = DirectoryRequest(
        limit=request.query_int("limit", 0),
        since=request.query.get("since"),
        server=request.query_as(ServerName, "server"),
    )
    if not public_rooms.is_elsewhere(wanted.server):
        return public_rooms.get_public_rooms(wanted)
    request.authenticate(Auth.ACCESS_TOKEN)
    return public_rooms.get_public_rooms(wanted, request.requester.user_id)
