"""Accept another server's signed knock, and return state that describes the room.

https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1send_knockroomideventid
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Auth, Request, endpoint
from murmuration.federation.membership.serving.knocks import send_knock


@endpoint("PUT", "/_matrix/federation/v1/send_knock/{roomId}/{eventId}", auth=Auth.SERVER)
def handler(request: Request) -> Answer:
    room_id, event_id = request.params["roomId"], request.params["eventId"]
    return send_knock(request.origin, room_id, event_id, request.content)
