"""Return the template of a join by a user of another server.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_joinroomiduserid
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Auth, Request, endpoint
from murmuration.federation.membership.serving.templates import make_join


@endpoint("GET", "/_matrix/federation/v1/make_join/{roomId}/{userId}", auth=Auth.SERVER)
def handler(request: Request) -> Answer:
    room_id, user_id = request.params["roomId"], request.params["userId"]
    return make_join(request.origin, room_id, user_id, request.query_all("ver"))
