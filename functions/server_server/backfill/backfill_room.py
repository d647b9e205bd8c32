"""Return the requested events and those before them to another server.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1backfillroomid
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Auth, Request, endpoint
from murmuration.federation.serving import history
from murmuration.protocol.identifiers import EventId


@endpoint("GET", "/_matrix/federation/v1/backfill/{roomId}", auth=Auth.SERVER)
def handler(request: Request) -> Answer:
    limit = request.query_int("limit", history.MOST_BACKFILLED)
    starts = [EventId(each) for each in request.query_all("v")]
    return history.backfill(request.origin, request.params["roomId"], starts, limit)
