"""Return a user's presence, in the founding documents' states.

The founding draft's "Presence"; today: https://spec.matrix.org/v1.19/client-server-api/#presence
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Request, endpoint
from murmuration.presence.requests import get_status


@endpoint(
    "GET",
    "/_matrix/client/api/v1/presence/{userId}/status",
    also=("/_matrix/client/v2/presence/{userId}/status",),
)
def handler(request: Request) -> Answer:
    return get_status(request.requester.user_id, request.params["userId"])
