"""Return the address at which other servers reach this server.

https://spec.matrix.org/v1.19/server-server-api/#getwell-knownmatrixserver
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Auth, Request, endpoint
from murmuration.federation import discovery


@endpoint("GET", "/.well-known/matrix/server", auth=Auth.NONE)
def handler(_request: Request) -> Answer:
    return discovery.get_wellknown()
