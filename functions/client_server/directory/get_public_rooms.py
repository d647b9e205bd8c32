"""List the published rooms.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3publicrooms
"""

from __future__ import annotations

from typing import Any

from murmuration.endpoint import CLIENT_VERSIONS, Auth, Request, endpoint
from murmuration.rooms.lifecycle import public_rooms


@endpoint(
    "GET",
    "/_matrix/client/{version}/publicRooms",
    auth=Auth.NONE,
    versions=CLIENT_VERSIONS,
    also=("/_matrix/client/api/v1/publicRooms",),
)
def handler(request: Request) -> dict[str, Any]:
    wanted = public_rooms.DirectoryRequest(
        limit=request.query_int("limit", 0),
        since=request.query.get("since"),
        server=request.query.get("server"),
    )
    return public_rooms.get_public_rooms(wanted)
