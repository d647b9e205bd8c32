"""Read the membership events of a room.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmembers
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Auth, Request, endpoint
from murmuration.rooms.reading.state_reads import MEMBERSHIPS, get_members_text


@endpoint(
    "GET",
    "/_matrix/client/{version}/rooms/{roomId}/members",
    auth=Auth.DEFERRED_ACCESS_TOKEN,
    versions=CLIENT_VERSIONS,
)
def handler(request: Request) -> Answer:
    wanted = {
        name: request.query_choice(name, MEMBERSHIPS)
        for name in ("membership", "not_membership")
        if name in request.query
    }
    at = request.query.get("at")
    return {"chunk": get_members_text(request.access_token, request.params["roomId"], at=at, **wanted)}
