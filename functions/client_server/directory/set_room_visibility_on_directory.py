"""Publish a room, or unpublish it.

https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directorylistroomroomid
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.rooms.lifecycle.public_rooms import set_room_visibility


@endpoint(
    "PUT",
    "/_matrix/client/{version}/directory/list/room/{roomId}",
    versions=CLIENT_VERSIONS,
    refuses_suspended=True,
)
def handler(request: Request) -> Answer:
    visibility = request.json_object().get("visibility", "public")
    set_room_visibility(request.requester, request.params["roomId"], visibility)
    return {}
