"""List the rooms that the user is in.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3joined_rooms
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.rooms.reading.state_reads import get_joined_rooms


@endpoint("GET", "/_matrix/client/{version}/joined_rooms", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    return {"joined_rooms": get_joined_rooms(request.requester.user_id)}
