"""Create a room. For clients that still use r0, its version is one that they understand.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.federation.membership.inviting import create_room
from murmuration.rooms.lifecycle.creation import RoomRequest


@endpoint("POST", "/_matrix/client/{version}/createRoom", versions=CLIENT_VERSIONS, refuses_suspended=True)
def handler(request: Request) -> Answer:
    old = request.params["version"] == "r0"
    wanted = RoomRequest.from_body(request.fields(), for_old_clients=old)
    return {"room_id": create_room(request.requester, wanted)}
