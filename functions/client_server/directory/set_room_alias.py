"""Create a room alias.

https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directoryroomroomalias
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.rooms.lifecycle import aliases


@endpoint(
    "PUT",
    "/_matrix/client/{version}/directory/room/{roomAlias}",
    versions=CLIENT_VERSIONS,
    also=("/_matrix/client/api/v1/directory/room/{roomAlias}",),
    refuses_suspended=True,
)
def handler(request: Request) -> Answer:
    room_id = request.fields().room_id()
    aliases.set_room_alias(request.requester, request.params["roomAlias"], room_id)
    return {}
