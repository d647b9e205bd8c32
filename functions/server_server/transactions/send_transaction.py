"""Accept events and ephemeral data of another server.

https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1sendtxnid
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Auth, Request, endpoint
from murmuration.federation.inbound.transactions.taking import take_transaction


@endpoint("PUT", "/_matrix/federation/v1/send/{txnId}", auth=Auth.SERVER)
def handler(request: Request) -> Answer:
    return take_transaction(request.origin, request.content_object, len(request.body))
