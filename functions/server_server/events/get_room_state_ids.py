"""Return the IDs of the state of a room before an event to another server.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1state_idsroomid
"""

from __future__ import annotations

from murmuration.endpoint import Auth, Request, Response, endpoint
from murmuration.federation.serving import states
from murmuration.protocol.identifiers import EventId


@endpoint("GET", "/_matrix/federation/v1/state_ids/{roomId}", auth=Auth.SERVER)
def handler(request: Request) -> Response:
    event_id = EventId(request.query_required("event_id"))
    answer = states.get_state_ids(
        request.origin, request.params["roomId"], event_id, gzip=request.accepts_gzip
    )
    return Response(answer.body, headers=answer.headers)
