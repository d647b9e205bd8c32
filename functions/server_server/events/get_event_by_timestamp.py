"""Return the event closest to a point in time to another server.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1timestamp_to_eventroomid
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Auth, Request, endpoint
from murmuration.federation.serving import by_timestamp


@endpoint("GET", "/_matrix/federation/v1/timestamp_to_event/{roomId}", auth=Auth.SERVER)
def handler(request: Request) -> Answer:
    request.query_required("ts")
    forward = request.query_choice("dir", ("b", "f")) == "f"
    return by_timestamp.get_event_by_timestamp(
        request.origin, request.params["roomId"], request.query_int("ts", 0), forward=forward
    )
