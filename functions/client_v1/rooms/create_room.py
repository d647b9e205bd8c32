"""Create a room.

The founding draft's "Rooms"; today: https://spec.matrix.org/v1.19/client-server-api/#creation
"""

from __future__ import annotations

from murmuration.drafts.v1.rooms import create_room
from murmuration.endpoint import Answer, Request, endpoint


@endpoint(
    "POST",
    "/_matrix/client/api/v1/createRoom",
    also=("PUT /_matrix/client/api/v1/createRoom/{txnId}",),
    refuses_suspended=True,
)
def handler(request: Request) -> Answer:
    return create_room(request.requester, request.fields(), request.params.get("txnId"))
