"""Return credentials for TURN servers.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3voipturnserver
"""

from __future__ import annotations

from murmuration import voip
from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint


@endpoint(
    "GET",
    "/_matrix/client/{version}/voip/turnServer",
    versions=CLIENT_VERSIONS,
    also=("/_matrix/client/v2/voip/turnServer", "/_matrix/client/api/v1/voip/turnServer"),
)
def handler(request: Request) -> Answer:
    return voip.get_turn_server(request.requester.user_id)
