"""Return one event.

The founding draft's "Syncing rooms"; today: https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

from __future__ import annotations

from murmuration.drafts.v1.events import V1
from murmuration.drafts.v1.history import get_event
from murmuration.endpoint import Answer, Auth, Request, endpoint


@endpoint("GET", "/_matrix/client/api/v1/events/{eventId}", auth=Auth.DEFERRED_ACCESS_TOKEN)
def handler(request: Request) -> Answer:
    return get_event(request.access_token, request.params["eventId"], V1)
