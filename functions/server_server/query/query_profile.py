"""Return the profile of a local user to another server.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1queryprofile
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Auth, Request, endpoint
from murmuration.federation.membership.serving.queries import query_profile
from murmuration.protocol.identifiers import UserId


@endpoint("GET", "/_matrix/federation/v1/query/profile", auth=Auth.SERVER)
def handler(request: Request) -> Answer:
    return query_profile(request.query_as(UserId, "user_id"), request.query.get("field"))
