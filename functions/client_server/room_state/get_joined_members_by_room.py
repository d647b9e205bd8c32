"""Read the joined members of a room, with their names and avatars.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidjoined_members
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Auth, Request, endpoint
from murmuration.rooms.reading.state_reads import get_joined_members


@endpoint(
    "GET",
    "/_matrix/client/{version}/rooms/{roomId}/joined_members",
    auth=Auth.DEFERRED_ACCESS_TOKEN,
    versions=CLIENT_VERSIONS,
)
def handler(request: Request) -> Answer:
    return {"joined": get_joined_members(request.access_token, request.params["roomId"])}
