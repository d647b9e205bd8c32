"""Create a room alias.

https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directoryroomroomalias
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.protocol.errors import BadJson, MissingParam
from murmuration.rooms.lifecycle import aliases


@endpoint(
    "PUT",
    "/_matrix/client/{version}/directory/room/{roomAlias}",
    versions=CLIENT_VERSIONS,
    also=("/_matrix/client/api/v1/directory/room/{roomAlias}",),
    refuses_suspended=True,
)
def handler(request: Request) -> Answer:
    body = request.json_object()
    if "room_id" not in body:
        raise MissingParam("room_id is missing")
    if not isinstance(body["room_id"], str):
        raise BadJson("room_id must be a room ID")
    aliases.set_room_alias(request.requester, request.params["roomAlias"], body["room_id"])
    return {}
