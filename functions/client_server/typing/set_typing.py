"""Set whether the requester is typing in a room.

https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidtypinguserid
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.protocol.errors import BadJson, MissingParam
from murmuration.rooms.ephemeral.typing import DEFAULT_TIMEOUT_MS, set_typing


@endpoint(
    "PUT",
    "/_matrix/client/{version}/rooms/{roomId}/typing/{userId}",
    versions=CLIENT_VERSIONS,
    also=(
        "/_matrix/client/v2/rooms/{roomId}/typing/{userId}",
        "/_matrix/client/api/v1/rooms/{roomId}/typing/{userId}",
    ),
    refuses_suspended=True,
)
def handler(request: Request) -> Answer:
    body = request.json_object()
    typing, timeout = body.get("typing"), body.get("timeout", DEFAULT_TIMEOUT_MS)
    if typing is None:
        raise MissingParam("typing is missing")
    if not isinstance(typing, bool) or not isinstance(timeout, int) or isinstance(timeout, bool):
        raise BadJson("typing must be true or false, timeout a number of milliseconds")
    params = request.params
    set_typing(request.requester, params["roomId"], params["userId"], typing=typing, timeout_ms=timeout)
    return {}
