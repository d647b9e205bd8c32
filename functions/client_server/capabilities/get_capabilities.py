"""Return the capabilities of the server and the requester.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3capabilities
"""

from __future__ import annotations

from murmuration import server_discovery
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint


@endpoint("GET", "/_matrix/client/{version}/capabilities", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    return server_discovery.get_capabilities(request.requester)
