"""Accept another server's signed leave. Version 1 returns a list.

https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_leaveroomideventid
"""

from __future__ import annotations

from typing import Any

from murmuration.endpoint import Answer, Auth, Request, endpoint
from murmuration.federation.membership.serving.leaves import send_leave


@endpoint(
    "PUT",
    "/_matrix/federation/v2/send_leave/{roomId}/{eventId}",
    auth=Auth.SERVER,
    also=("/_matrix/federation/v1/send_leave/{roomId}/{eventId}",),
)
def handler(request: Request) -> Answer | list[Any]:
    room_id, event_id = request.params["roomId"], request.params["eventId"]
    answer = send_leave(request.origin, room_id, event_id, request.content)
    return [200, answer] if "/v1/" in request.resource else answer
