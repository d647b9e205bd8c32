"""Return the URL of this server name's homeserver.

https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixclient
"""

from __future__ import annotations

from murmuration import server_discovery
from murmuration.endpoint import Answer, Auth, Request, endpoint


@endpoint("GET", "/.well-known/matrix/client", auth=Auth.NONE)
def handler(_request: Request) -> Answer:
    return server_discovery.get_wellknown()
