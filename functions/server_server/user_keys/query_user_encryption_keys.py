"""Return the identity keys of local users to another server.

https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysquery
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Auth, Request, endpoint
from murmuration.federation.devices.serving import query_user_keys


@endpoint("POST", "/_matrix/federation/v1/user/keys/query", auth=Auth.SERVER)
def handler(request: Request) -> Answer:
    return query_user_keys(request.origin, request.content_object)
