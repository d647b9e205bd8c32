"""Return a page of a room's timeline.

The founding draft's "Getting events for a room"; today:
https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room
"""

from __future__ import annotations

from murmuration.drafts.v1.history import get_messages
from murmuration.endpoint import Answer, Auth, Request, endpoint


@endpoint("GET", "/_matrix/client/api/v1/rooms/{roomId}/messages", auth=Auth.DEFERRED_ACCESS_TOKEN)
def handler(request: Request) -> Answer:
    return get_messages(request.access_token, request.params["roomId"], request.query)
