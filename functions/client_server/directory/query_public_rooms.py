"""List those of the published rooms that pass a filter.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3publicrooms
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.federation.finding import public_rooms
from murmuration.rooms.lifecycle.public_rooms import DirectoryRequest


@endpoint("POST", "/_matrix/client/{version}/publicRooms", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    wanted = DirectoryRequest.from_body(request.fields(optional=True), server=request.query.get("server"))
    return public_rooms.get_public_rooms(wanted, request.requester.user_id)
