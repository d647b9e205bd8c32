"""Return a space's room and the rooms right below it to another server.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Auth, Request, endpoint
from murmuration.federation.serving.hierarchy import get_hierarchy


@endpoint("GET", "/_matrix/federation/v1/hierarchy/{roomId}", auth=Auth.SERVER)
def handler(request: Request) -> Answer:
    return get_hierarchy(
        request.origin, request.params["roomId"], suggested_only=request.query_bool("suggested_only")
    )
