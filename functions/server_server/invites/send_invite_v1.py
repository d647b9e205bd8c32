"""Accept and sign another server's invite of a local user. Version 1.

https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1inviteroomideventid
"""

from __future__ import annotations

from typing import Any

from murmuration.endpoint import Auth, Request, endpoint
from murmuration.federation.membership.serving.invites import invite_v1


@endpoint("PUT", "/_matrix/federation/v1/invite/{roomId}/{eventId}", auth=Auth.SERVER)
def handler(request: Request) -> list[Any]:
    room_id, event_id = request.params["roomId"], request.params["eventId"]
    return invite_v1(request.origin, room_id, event_id, request.content_object)
