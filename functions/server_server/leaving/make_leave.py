"""Return the template of a leave by a user of another server.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_leaveroomiduserid
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Auth, Request, endpoint
from murmuration.federation.membership.serving.templates import make_leave


@endpoint("GET", "/_matrix/federation/v1/make_leave/{roomId}/{userId}", auth=Auth.SERVER)
def handler(request: Request) -> Answer:
    return make_leave(request.origin, request.params["roomId"], request.params["userId"])
