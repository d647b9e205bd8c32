"""Return one room, for a client that opens it.

The founding draft's "Syncing rooms"; today: https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

from __future__ import annotations

from murmuration.drafts.v1.events import V1
from murmuration.drafts.v1.history import room_initial_sync
from murmuration.endpoint import Answer, Auth, Request, endpoint


@endpoint("GET", "/_matrix/client/api/v1/rooms/{roomId}/initialSync", auth=Auth.DEFERRED_ACCESS_TOKEN)
def handler(request: Request) -> Answer:
    return room_initial_sync(request.access_token, request.params["roomId"], request.query, V1)
