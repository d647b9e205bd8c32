"""Return events that another server misses between events that it has.

https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1get_missing_eventsroomid
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Auth, Request, endpoint
from murmuration.federation.serving import history


@endpoint("POST", "/_matrix/federation/v1/get_missing_events/{roomId}", auth=Auth.SERVER)
def handler(request: Request) -> Answer:
    return history.get_missing_events(request.origin, request.params["roomId"], request.content_object)
