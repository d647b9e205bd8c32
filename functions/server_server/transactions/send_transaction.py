"""Take events and ephemeral data that another server sends.

https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1sendtxnid
"""

from __future__ import annotations

from typing import Any

from murmuration.endpoint import Auth, Request, endpoint
from murmuration.federation.inbound.transactions.taking import take_transaction


@endpoint("PUT", "/_matrix/federation/v1/send/{txnId}", auth=Auth.SERVER)
def handler(request: Request) -> dict[str, Any]:
    return take_transaction(request.origin, request.content_object, len(request.body))
