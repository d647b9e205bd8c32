"""Set the requester's presence to any of the founding documents' states.

The founding draft's "Presence"; today: https://spec.matrix.org/v1.19/client-server-api/#presence
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Request, endpoint
from murmuration.presence.requests import set_status
from murmuration.protocol.presence import STATES


@endpoint(
    "PUT",
    "/_matrix/client/api/v1/presence/{userId}/status",
    also=("/_matrix/client/v2/presence/{userId}/status",),
)
def handler(request: Request) -> Answer:
    set_status(request.requester, request.params["userId"], request.fields(), STATES)
    return {}
