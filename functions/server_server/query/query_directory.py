"""Return the room to which an alias of this server points to another server.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1querydirectory
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Auth, Request, endpoint
from murmuration.federation.membership.serving.queries import query_directory


@endpoint("GET", "/_matrix/federation/v1/query/directory", auth=Auth.SERVER)
def handler(request: Request) -> Answer:
    return query_directory(request.query.get("room_alias"))
