"""Change whose presence the requester asks to see, and who may see the requester's.

The founding draft's "Presence"; today: https://spec.matrix.org/v1.19/client-server-api/#presence
"""

from __future__ import annotations

from murmuration.endpoint import Answer, Request, endpoint
from murmuration.presence.requests import change_list


@endpoint("POST", "/_matrix/client/api/v1/presence/list/{userId}")
def handler(request: Request) -> Answer:
    change_list(request.requester, request.params["userId"], request.fields())
    return {}
