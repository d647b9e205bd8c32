"""Return how to contact the server's operators.

https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixsupport
"""

from __future__ import annotations

from murmuration import server_discovery
from murmuration.endpoint import Answer, Auth, Request, endpoint


@endpoint("GET", "/.well-known/matrix/support", auth=Auth.NONE)
def handler(_request: Request) -> Answer:
    return server_discovery.get_wellknown_support()
