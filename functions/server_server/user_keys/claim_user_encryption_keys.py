"""Return one-time keys of local users' devices to another server.

https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysclaim
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Auth, Request, endpoint
from murmuration.federation.devices.serving import claim_user_keys


@endpoint("POST", "/_matrix/federation/v1/user/keys/claim", auth=Auth.SERVER)
def handler(request: Request) -> Answer:
    return claim_user_keys(request.origin, request.content_object)
