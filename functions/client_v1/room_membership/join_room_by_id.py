"""Join a room by its ID.

The founding draft's "Joining rooms"; today: https://spec.matrix.org/v1.19/client-server-api/#joining-rooms
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Auth, Request, endpoint
from murmuration.federation.membership.joining import join_room
from murmuration.rooms.membership.joining import JoinRequest


@endpoint(
    "POST",
    "/_matrix/client/api/v1/rooms/{roomId}/join",
    auth=Auth.DEFERRED_ACCESS_TOKEN,
    also=("PUT /_matrix/client/api/v1/rooms/{roomId}/join/{txnId}",),
    refuses_suspended=True,
)
def handler(request: Request) -> Answer:
    wanted = JoinRequest.from_body(request.params["roomId"], request.fields(optional=True))
    return {"room_id": join_room(request.access_token, wanted, txn_id=request.params.get("txnId"))}
