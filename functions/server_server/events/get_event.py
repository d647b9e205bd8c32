"""Return one event to another server.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1eventeventid
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Auth, Request, endpoint
from murmuration.federation.serving import events


@endpoint("GET", "/_matrix/federation/v1/event/{eventId}", auth=Auth.SERVER)
def handler(request: Request) -> Answer:
    return events.get_event(request.origin, request.params["eventId"])
