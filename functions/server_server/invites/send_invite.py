"""Accept and sign another server's invite of a local user. Version 2.

https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2inviteroomideventid
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Auth, Request, endpoint
from murmuration.federation.membership.serving.invites import invite


@endpoint("PUT", "/_matrix/federation/v2/invite/{roomId}/{eventId}", auth=Auth.SERVER)
def handler(request: Request) -> Answer:
    room_id, event_id = request.params["roomId"], request.params["eventId"]
    return invite(request.origin, room_id, event_id, request.content_object)
