"""Return whether a room is published.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3directorylistroomroomid
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Auth, Request, endpoint
from murmuration.rooms.lifecycle.public_rooms import get_room_visibility


@endpoint(
    "GET", "/_matrix/client/{version}/directory/list/room/{roomId}", auth=Auth.NONE, versions=CLIENT_VERSIONS
)
def handler(request: Request) -> Answer:
    return {"visibility": get_room_visibility(request.params["roomId"])}
