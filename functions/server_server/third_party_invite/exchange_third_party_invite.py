"""Turn an invite by address into the invite of a user, once another server knows whose address it is.

https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1exchange_third_party_inviteroomid
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Auth, Request, endpoint
from murmuration.federation.membership.serving.third_party import exchange


@endpoint("PUT", "/_matrix/federation/v1/exchange_third_party_invite/{roomId}", auth=Auth.SERVER)
def handler(request: Request) -> Answer:
    return exchange(request.origin, request.params["roomId"], request.content_object)
