"""Set the user's presence and status message.

https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3presenceuseridstatus
"""

from __future__ import annotations

from murmuration.endpoint import CLIENT_VERSIONS, Answer, Request, endpoint
from murmuration.presence.requests import set_status
from murmuration.protocol.presence import TODAYS


@endpoint("PUT", "/_matrix/client/{version}/presence/{userId}/status", versions=CLIENT_VERSIONS)
def handler(request: Request) -> Answer:
    set_status(request.requester, request.params["userId"], request.fields(), TODAYS)
    return {}
