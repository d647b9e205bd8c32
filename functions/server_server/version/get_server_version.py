"""Return the name and version of this server's software.

https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1version
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Auth, Request, endpoint
from murmuration.federation import discovery


@endpoint("GET", "/_matrix/federation/v1/version", auth=Auth.NONE)
def handler(_request: Request) -> Answer:
    return discovery.get_version()
