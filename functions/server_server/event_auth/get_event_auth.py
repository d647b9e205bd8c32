"""Return the auth chain of an event to another server.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1event_authroomideventid
"""

from __future__ import annotations

from murmuration.endpoint import Auth, Request, Response, endpoint
from murmuration.federation.serving import events


@endpoint("GET", "/_matrix/federation/v1/event_auth/{roomId}/{eventId}", auth=Auth.SERVER)
def handler(request: Request) -> Response:
    room_id, event_id = request.params["roomId"], request.params["eventId"]
    answer = events.get_event_auth(request.origin, room_id, event_id, gzip=request.accepts_gzip)
    return Response(answer.body, headers=answer.headers)
