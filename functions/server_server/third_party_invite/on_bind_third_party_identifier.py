"""Take notice that an address belongs to a local user, who has invites by that address.

https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv13pidonbind
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Auth, Request, endpoint
from murmuration.federation.membership.binding import take_binding


@endpoint("PUT", "/_matrix/federation/v1/3pid/onbind", auth=Auth.NONE)
def handler(request: Request) -> Answer:
    return take_binding(request.json_object(), request.source_ip)
