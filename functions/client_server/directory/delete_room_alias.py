"""Remove a room alias.

https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3directoryroomroomalias
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.rooms.lifecycle import aliases


@endpoint(
    "DELETE",
    "/_matrix/client/{version}/directory/room/{roomAlias}",
    versions=CLIENT_VERSIONS,
    also=(
        "/_matrix/client/v2/directory/room/{roomAlias}",
        "/_matrix/client/api/v1/directory/room/{roomAlias}",
    ),
    refuses_suspended=True,
)
def handler(request: Request) -> Answer:
    aliases.delete_room_alias(request.requester, request.params["roomAlias"])
    return {}
