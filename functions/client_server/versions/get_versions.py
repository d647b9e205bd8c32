"""Return the versions of the specification that this server supports.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientversions
"""

from __future__ import annotations

from murmuration import server_discovery
from murmuration.endpoint import Answer, Auth, Request, endpoint


@endpoint("GET", "/_matrix/client/versions", auth=Auth.NONE)
def handler(_request: Request) -> Answer:
    return server_discovery.get_versions()
